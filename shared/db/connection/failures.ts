const UNREACHABLE_CODES = new Set([
  "ECONNREFUSED",
  "ECONNRESET",
  "ETIMEDOUT",
  "EPIPE",
  "ENOTFOUND",
  "EAI_AGAIN",
  "ENOENT",
  // The connection died between being taken from the pool and being written to.
  "ERR_STREAM_DESTROYED",
  "ERR_STREAM_WRITE_AFTER_END",
]);
// Connection exceptions, shutting down, starting up, too many connections, a statement ended for taking too long.
const UNREACHABLE_STATES = /^(?:08...|57P0[123]|53300|57014)$/;
// Knex puts the statement and a dash before what the driver says.
const UNREACHABLE_MESSAGES =
  /(?:^| - )(?:Connection terminated|Client has encountered a connection error|Client was closed|timeout (?:exceeded|expired)|Query read timeout|Knex: Timeout|Invalid connection for transaction query|Transaction query already complete)/i;

/** Deadlock, serialization failure, or a row that somebody else inserted at the same moment: trying again may succeed. */
export function isRepeatable(error: unknown): boolean {
  return ["40P01", "40001", "23505"].includes(codeOf(error));
}

/** A row that somebody else keeps locked was waited for as long as the transaction allows. */
export function isLockTimeout(error: unknown): boolean {
  return codeOf(error) === "55P03";
}

/** What `omc_require` ends a transaction with: the lease is gone; what was read before is not so any more. */
export const LEASE_LOST = "OM001";
export const VIEW_STALE = "OM002";

export function isLeaseLost(error: unknown): boolean {
  return codeOf(error) === LEASE_LOST;
}

/** Looking again, and deciding again, may succeed. */
export function isViewStale(error: unknown): boolean {
  return codeOf(error) === VIEW_STALE;
}

/** Postgres cannot be reached, refuses work or is too slow: nothing is wrong with what was asked. */
export function isDbUnavailable(error: unknown): boolean {
  if (error instanceof Error && "nativeError" in error) return isDbUnavailable(error.nativeError);
  const code = codeOf(error);
  if (UNREACHABLE_CODES.has(code) || UNREACHABLE_STATES.test(code)) return true;
  if (error instanceof AggregateError) return error.errors.some((inner) => isDbUnavailable(inner));
  return (
    error instanceof Error && (error.name === "KnexTimeoutError" || UNREACHABLE_MESSAGES.test(error.message))
  );
}

/** The driver's code; Objection keeps the driver's error inside its own. */
function codeOf(error: unknown): string {
  if (error instanceof Error && "nativeError" in error) return codeOf(error.nativeError);
  const isCoded = typeof error === "object" && error !== null && "code" in error;
  return isCoded && typeof error.code === "string" ? error.code : "";
}
