const UNREACHABLE_CODES = new Set([
  "ECONNREFUSED",
  "ECONNRESET",
  "ETIMEDOUT",
  "EPIPE",
  "ENOTFOUND",
  "EAI_AGAIN",
  "ENOENT",
  // The connection died after the pool handed it out and before the first write.
  "ERR_STREAM_DESTROYED",
  "ERR_STREAM_WRITE_AFTER_END",
]);
// Connection exceptions, shutdown, startup, too many connections, a cancelled statement.
const UNREACHABLE_STATES = /^(?:08...|57P0[123]|53300|57014)$/;
// Knex puts the statement and a dash before the message of the driver.
const UNREACHABLE_MESSAGES =
  /(?:^| - )(?:Connection terminated|Client has encountered a connection error|Client was closed|timeout (?:exceeded|expired)|Query read timeout|Knex: Timeout|Invalid connection for transaction query|Transaction query already complete)/i;

/** A deadlock, a serialization failure, or a row that another transaction inserted first: a retry may succeed. */
export function isRepeatable(error: unknown): boolean {
  return ["40P01", "40001", "23505"].includes(codeOf(error));
}

/** Another transaction kept a lock for longer than this one may wait. */
export function isLockTimeout(error: unknown): boolean {
  return codeOf(error) === "55P03";
}

/** The errors of `omc_require`: the lease was lost; a row changed since it was read. */
export const LEASE_LOST = "OM001";
export const VIEW_STALE = "OM002";

export function isLeaseLost(error: unknown): boolean {
  return codeOf(error) === LEASE_LOST;
}

/** A retry with a fresh read may succeed. */
export function isViewStale(error: unknown): boolean {
  return codeOf(error) === VIEW_STALE;
}

/** Postgres is unreachable, refuses work or is too slow: nothing is wrong with the statement. */
export function isDbUnavailable(error: unknown): boolean {
  if (error instanceof Error && "nativeError" in error) return isDbUnavailable(error.nativeError);
  const code = codeOf(error);
  if (UNREACHABLE_CODES.has(code) || UNREACHABLE_STATES.test(code)) return true;
  if (error instanceof AggregateError) return error.errors.some((inner) => isDbUnavailable(inner));
  return (
    error instanceof Error && (error.name === "KnexTimeoutError" || UNREACHABLE_MESSAGES.test(error.message))
  );
}

/** The code of the driver's error, which Objection wraps in its own. */
function codeOf(error: unknown): string {
  if (error instanceof Error && "nativeError" in error) return codeOf(error.nativeError);
  const isCoded = typeof error === "object" && error !== null && "code" in error;
  return isCoded && typeof error.code === "string" ? error.code : "";
}
