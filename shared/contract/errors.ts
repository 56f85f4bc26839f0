/** Every failure that the API may return: the `code` of a problem. */
export type ErrorCode =
  | "malformed"
  | "unauthorized"
  | "token_expired"
  | "forbidden"
  | "wrong_credential"
  | "not_found"
  | "method_not_allowed"
  | "conflict"
  | "too_many_roles"
  | "too_large"
  | "unsupported_media_type"
  | "invalid"
  | "idempotency_key_reused"
  | "rate_limited"
  | "internal"
  | "unavailable";

/** What is wrong with one field of a body, a path or a query. `path` is dotted, and empty for the whole. */
export type FieldError = { path: string; message: string };

type AppErrorOptions = {
  cause?: unknown;
  errors?: FieldError[];
  retryAfterMs?: number;
  /** The methods of the path, for the header `Allow`. */
  allowedMethods?: readonly string[];
};

/** An expected failure. The caller sees `message`: it must hold no Matrix id, token or server name. */
export class AppError extends Error {
  readonly code: ErrorCode;
  readonly errors: FieldError[] | undefined;
  readonly retryAfterMs: number | undefined;
  readonly allowedMethods: readonly string[] | undefined;

  constructor(code: ErrorCode, message: string, options: AppErrorOptions = {}) {
    super(message, options.cause === undefined ? {} : { cause: options.cause });
    this.name = "AppError";
    this.code = code;
    this.errors = options.errors;
    this.retryAfterMs = options.retryAfterMs;
    this.allowedMethods = options.allowedMethods;
  }
}

/** The text of anything thrown, for logs. */
export function errorText(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
