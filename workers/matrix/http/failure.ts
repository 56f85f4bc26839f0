/**
 * What a refused or lost Matrix call means for us.
 * - `transient`: nobody knows whether it was applied; the same call may be repeated, later.
 * - `limited`: not applied; the homeserver asked to wait.
 * - `auth`: the credential is not accepted.
 * - `forbidden`: not applied; what is missing on Matrix (join, level) may be mended.
 * - `conflict`: what was asked for exists or holds already.
 * - `missing`: what the call speaks of is not there.
 * - `permanent`: not applied, and never will be.
 */
export type FailureKind =
  "transient" | "limited" | "auth" | "forbidden" | "conflict" | "missing" | "permanent";

/** What a homeserver that limits us is given when it does not say how long to wait. */
const LIMITED_DELAY_MS = 2_000;
/** The same where only its operator can mend what it refuses for. */
const OPERATORS_DELAY_MS = 60_000;
const FOR_OPERATORS = new Set(["M_RESOURCE_LIMIT_EXCEEDED", "M_CONSENT_NOT_GIVEN"]);

/** A Matrix call that did not succeed. The message holds no Matrix id, token or URL. */
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

/** Whether a refusal of one account is the homeserver's operator's to mend: it says nothing of other accounts. */
export function isForOperators(error: MatrixFailure): boolean {
  return FOR_OPERATORS.has(error.errcode);
}

function delayOf(errcode: string): number {
  return FOR_OPERATORS.has(errcode) ? OPERATORS_DELAY_MS : LIMITED_DELAY_MS;
}

const BY_ERRCODE: Record<string, FailureKind> = {
  M_LIMIT_EXCEEDED: "limited",
  M_RESOURCE_LIMIT_EXCEEDED: "limited",
  M_CONSENT_NOT_GIVEN: "limited",
  M_UNKNOWN_TOKEN: "auth",
  M_MISSING_TOKEN: "auth",
  M_USER_LOCKED: "permanent",
  M_USER_DEACTIVATED: "permanent",
  M_USER_SUSPENDED: "permanent",
  M_FORBIDDEN: "forbidden",
  M_UNKNOWN_DEVICE: "forbidden",
  M_USER_IN_USE: "conflict",
  M_ROOM_IN_USE: "conflict",
  M_DUPLICATE_ANNOTATION: "conflict",
  M_NOT_FOUND: "missing",
};

/**
 * The kind of an answer; `errcode` null where it carries no Matrix error: then something before the homeserver said it,
 * as a proxy does while there is none, and nothing it says is final. Nor is a 5xx: the server is at fault.
 */
export function translateError(httpStatus: number, errcode: string | null): FailureKind {
  if (httpStatus >= 500) return "transient";
  if (httpStatus === 429) return "limited";
  if (errcode === null) return httpStatus === 413 ? "permanent" : "transient";
  const known = BY_ERRCODE[errcode];
  if (known) return known;
  if (httpStatus === 401) return "auth";
  if (httpStatus === 409) return "conflict";
  return httpStatus === 408 ? "transient" : "permanent";
}

/** Runs a call whose success another may have had already. */
export async function unlessConflict<T>(call: Promise<T>): Promise<T | null> {
  try {
    return await call;
  } catch (error) {
    if (error instanceof MatrixFailure && error.kind === "conflict") return null;
    throw error;
  }
}

/** Runs a call about something that may be gone already. */
export async function unlessMissing<T>(call: Promise<T>): Promise<T | null> {
  try {
    return await call;
  } catch (error) {
    if (error instanceof MatrixFailure && error.kind === "missing") return null;
    throw error;
  }
}

/** Runs a call that is refused where what it asks for holds already, as kicking who is not in. */
export async function unlessForbidden<T>(call: Promise<T>): Promise<T | null> {
  try {
    return await call;
  } catch (error) {
    if (error instanceof MatrixFailure && error.errcode === "M_FORBIDDEN") return null;
    throw error;
  }
}
