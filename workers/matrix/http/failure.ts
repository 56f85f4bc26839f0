/**
 * What to do after a Matrix call that did not succeed.
 * - `transient`: it may have been applied or not; repeat the same call later.
 * - `limited`: it was not applied; the homeserver asked to wait.
 * - `auth`: the credential was refused.
 * - `forbidden`: it was not applied; a join, a level or an account may be missing on Matrix and can be restored.
 * - `conflict`: what the call asked for exists already.
 * - `missing`: what the call names does not exist.
 * - `account`: the homeserver lets the account that calls do nothing: it is locked, suspended or deactivated.
 * - `permanent`: it was not applied for what it asks, and a repeated call would not be.
 * - `unclear`: it was not applied, and the answer says nothing about what it asks: a worker that does not know the path, a
 *   module or a proxy that speaks JSON. Repeat it later.
 */
export type FailureKind =
  | "transient"
  | "limited"
  | "auth"
  | "forbidden"
  | "conflict"
  | "missing"
  | "account"
  | "permanent"
  | "unclear";

/** The wait after a limit when the homeserver names none. */
const LIMITED_DELAY_MS = 2_000;
/** The same for refusals that only the homeserver's operator can end. */
const OPERATOR_DELAY_MS = 60_000;
const OPERATOR_ERRCODES = new Set(["M_RESOURCE_LIMIT_EXCEEDED", "M_CONSENT_NOT_GIVEN"]);

/** A Matrix call that did not succeed. Its message holds no Matrix id, token or URL. */
export class MatrixFailure extends Error {
  readonly kind: FailureKind;
  readonly errcode: string;
  readonly httpStatus: number | null;
  readonly retryAfterMs: number | null;

  constructor(
    kind: FailureKind,
    details: { errcode: string; httpStatus: number | null; retryAfterMs?: number | null; cause?: unknown },
  ) {
    super(`${details.errcode}${details.httpStatus === null ? "" : ` (HTTP ${String(details.httpStatus)})`}`, {
      cause: details.cause,
    });
    this.name = "MatrixFailure";
    this.kind = kind;
    this.errcode = details.errcode;
    this.httpStatus = details.httpStatus;
    this.retryAfterMs = details.retryAfterMs ?? (kind === "limited" ? delayOf(details.errcode) : null);
  }
}

/** Whether only the homeserver's operator can end this refusal. It concerns one account, not the others. */
export function isForOperators(error: MatrixFailure): boolean {
  return OPERATOR_ERRCODES.has(error.errcode);
}

function delayOf(errcode: string): number {
  return OPERATOR_ERRCODES.has(errcode) ? OPERATOR_DELAY_MS : LIMITED_DELAY_MS;
}

const BY_ERRCODE: Record<string, FailureKind> = {
  M_LIMIT_EXCEEDED: "limited",
  M_RESOURCE_LIMIT_EXCEEDED: "limited",
  M_CONSENT_NOT_GIVEN: "limited",
  M_UNKNOWN_TOKEN: "auth",
  M_MISSING_TOKEN: "auth",
  M_USER_LOCKED: "account",
  M_USER_DEACTIVATED: "account",
  M_USER_SUSPENDED: "account",
  M_FORBIDDEN: "forbidden",
  M_UNKNOWN_DEVICE: "forbidden",
  M_USER_IN_USE: "conflict",
  M_ROOM_IN_USE: "conflict",
  M_DUPLICATE_ANNOTATION: "conflict",
  M_NOT_FOUND: "missing",
  // What the homeserver says of the content, the parameters or the state that the call asks for.
  M_BAD_JSON: "permanent",
  M_INVALID_PARAM: "permanent",
  M_MISSING_PARAM: "permanent",
  M_TOO_LARGE: "permanent",
  M_BAD_STATE: "permanent",
  M_BAD_ALIAS: "permanent",
  M_EXCLUSIVE: "permanent",
  M_INVALID_USERNAME: "permanent",
  M_INVALID_ROOM_STATE: "permanent",
  M_INCOMPATIBLE_ROOM_VERSION: "permanent",
  M_UNSUPPORTED_ROOM_VERSION: "permanent",
};

/**
 * The kind of a response. `errcode` is null when the body is no Matrix error: then it came from something before the
 * homeserver, such as a proxy, and is never final. A 5xx is not final either: the server is at fault. Nor is an error code
 * that is not known to speak of the call, such as `M_UNKNOWN`, `M_UNRECOGNIZED` and `M_NOT_JSON`: we always send JSON.
 */
export function translateError(httpStatus: number, errcode: string | null): FailureKind {
  if (httpStatus >= 500) return "transient";
  if (httpStatus === 429) return "limited";
  if (errcode === null) return "transient";
  const known = BY_ERRCODE[errcode];
  if (known) return known;
  if (httpStatus === 401) return "auth";
  if (httpStatus === 409) return "conflict";
  return httpStatus === 408 ? "transient" : "unclear";
}

/** Failures in a row after which an unclear refusal is taken for a lasting one: about 8 s. */
const UNCLEAR_ATTEMPTS = 5;

/** Whether time alone will not repair a failure. `attempts`: failures in a row before it. */
export function isLasting(kind: FailureKind, attempts: number): boolean {
  return kind === "unclear" ? attempts >= UNCLEAR_ATTEMPTS : LASTING.has(kind);
}

const LASTING: ReadonlySet<FailureKind> = new Set([
  ...(["permanent", "account", "forbidden", "missing", "conflict", "auth"] as const),
]);

/** Null when the call fails because what it asks for exists already. */
export async function unlessConflict<T>(call: Promise<T>): Promise<T | null> {
  try {
    return await call;
  } catch (error) {
    if (error instanceof MatrixFailure && error.kind === "conflict") return null;
    throw error;
  }
}

/** Null when the call fails because what it names does not exist. */
export async function unlessMissing<T>(call: Promise<T>): Promise<T | null> {
  try {
    return await call;
  } catch (error) {
    if (error instanceof MatrixFailure && error.kind === "missing") return null;
    throw error;
  }
}

/** Null when the call is forbidden: Matrix forbids what is done already, such as kicking a user who is not in the room. */
export async function unlessForbidden<T>(call: Promise<T>): Promise<T | null> {
  try {
    return await call;
  } catch (error) {
    if (error instanceof MatrixFailure && error.errcode === "M_FORBIDDEN") return null;
    throw error;
  }
}
