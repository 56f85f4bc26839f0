import type { Handler } from "express";

const EXPOSED = "Location, Retry-After, X-Request-Id, Idempotency-Replayed, Preference-Applied";
const ALLOWED = "Authorization, Content-Type, Idempotency-Key, Prefer, X-Request-Id";
const METHODS = "GET, PUT, POST, PATCH, DELETE";
const PREFLIGHT_AGE_S = 600;

/** Lets browsers of the allowed origins read the API; of every origin when none is named. Credentials are headers, never cookies. */
export function createCors(allowedOrigins: readonly string[]): Handler {
  return (request, response, next) => {
    const origin = request.get("origin");
    const isAllowed =
      origin !== undefined && (allowedOrigins.length === 0 || allowedOrigins.includes(origin));
    if (isAllowed) {
      response.set({ "Access-Control-Allow-Origin": origin, "Access-Control-Expose-Headers": EXPOSED });
    }
    response.vary("Origin");
    if (request.method !== "OPTIONS" || request.get("access-control-request-method") === undefined) {
      next();
      return;
    }
    if (isAllowed) {
      response.set({
        "Access-Control-Allow-Methods": METHODS,
        "Access-Control-Allow-Headers": ALLOWED,
        "Access-Control-Max-Age": String(PREFLIGHT_AGE_S),
      });
    }
    response.status(204).end();
  };
}
