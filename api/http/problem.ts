import { AppError, type ErrorCode, type FieldError } from "../../shared/contract/errors.ts";
import { isDbUnavailable } from "../../shared/db/connection/failures.ts";

/** Status and title of each failure. */
export const PROBLEMS = {
  malformed: { status: 400, title: "The request cannot be read" },
  unauthorized: { status: 401, title: "Credentials are missing or not valid" },
  token_expired: { status: 401, title: "The token has expired" },
  forbidden: { status: 403, title: "This is not allowed" },
  wrong_credential: { status: 403, title: "This needs another kind of credential" },
  not_found: { status: 404, title: "There is nothing here" },
  method_not_allowed: { status: 405, title: "This path does not take that method" },
  conflict: { status: 409, title: "This contradicts what is there" },
  too_many_roles: { status: 409, title: "The room has too many members with a role" },
  too_large: { status: 413, title: "The body is too large" },
  unsupported_media_type: { status: 415, title: "The body is not JSON" },
  invalid: { status: 422, title: "The request is not valid" },
  idempotency_key_reused: { status: 422, title: "The idempotency key was used for another request" },
  rate_limited: { status: 429, title: "Too many requests" },
  internal: { status: 500, title: "Something went wrong on our side" },
  unavailable: { status: 503, title: "The service is not available for the moment" },
} as const satisfies Record<ErrorCode, { status: number; title: string }>;

/** The body of a failed request (RFC 9457). */
export type Problem = {
  type: string;
  title: string;
  status: number;
  code: ErrorCode;
  detail: string;
  requestId: string;
  errors?: FieldError[];
};

/** `Retry-After` of a failure that has none of its own. */
const DEFAULT_RETRY_MS = 1_000;

/** Translates anything thrown to an error with a code; the unexpected becomes `internal`. */
export function toAppError(error: unknown): AppError {
  if (error instanceof AppError) return error;
  if (isDbUnavailable(error)) {
    return new AppError("unavailable", "The database does not answer. Try again.", {
      cause: error,
      retryAfterMs: DEFAULT_RETRY_MS,
    });
  }
  return (
    translateBodyError(error) ??
    new AppError("internal", "Something went wrong on our side.", { cause: error })
  );
}

/** Translates failures of Express itself: a body that it cannot read, or a path with broken escapes. */
function translateBodyError(error: unknown): AppError | null {
  if (!(error instanceof Error) || !("status" in error)) return null;
  if (error.status === 413) return new AppError("too_large", "A body has at most 64 KiB.", { cause: error });
  if (error.status === 415)
    return new AppError("unsupported_media_type", "Send the body plain, without a content encoding.", {
      cause: error,
    });
  if (error.status === 400) return new AppError("malformed", "The request cannot be read.", { cause: error });
  return null;
}

export function describeProblem(error: AppError, requestId: string): Problem {
  const { status, title } = PROBLEMS[error.code];
  return {
    type: "about:blank",
    title,
    status,
    code: error.code,
    detail: error.message,
    requestId,
    ...(error.errors ? { errors: error.errors } : {}),
  };
}

/** The headers of a failed request. */
export function problemHeaders(error: AppError): Record<string, string> {
  const retryAfterMs = error.retryAfterMs ?? (error.code === "unavailable" ? DEFAULT_RETRY_MS : undefined);
  return {
    "Content-Type": "application/problem+json",
    ...(retryAfterMs === undefined ? {} : { "Retry-After": String(Math.ceil(retryAfterMs / 1_000)) }),
    ...(error.allowedMethods === undefined ? {} : { Allow: error.allowedMethods.join(", ") }),
    ...(PROBLEMS[error.code].status === 401 ? { "WWW-Authenticate": "Bearer" } : {}),
  };
}
