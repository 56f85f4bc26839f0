import type { Handler, Request } from "express";
import { AppError } from "../../shared/contract/errors.ts";
import { isTenantOrigin } from "../../shared/auth/origins.ts";
import type { Caller } from "../auth/authenticate.ts";

const EXPOSED = "Location, Retry-After, X-Request-Id, Idempotency-Replayed, Preference-Applied";
const ALLOWED = "Authorization, Content-Type, Idempotency-Key, Prefer, X-Request-Id";
const METHODS = "GET, PUT, POST, PATCH, DELETE";
const PREFLIGHT_AGE_S = 600;

/**
 * Lets browsers of known origins read the API. Credentials are headers, never cookies, and no wildcard is answered.
 * Which tenant a page may act for is asked by `requireOrigin`, once the tenant is known.
 */
export function createCors(isKnown: (origin: string) => boolean): Handler {
  return (request, response, next) => {
    const origin = request.get("origin");
    const isAllowed = origin !== undefined && isKnown(origin);
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

/** @throws AppError `forbidden` for a page of an origin that may not act for the caller's tenant. */
export function requireOrigin(request: Request, caller: Caller, configured: readonly string[]): void {
  const origin = request.get("origin");
  if (origin === undefined || isOwnOrigin(request)) return;
  if (!isTenantOrigin(origin, caller.limits.allowedOrigins, configured))
    throw new AppError("forbidden", "Pages of this origin may not act for this tenant.");
}

/** Whether a request comes from a page of ours. */
export function isOwnOrigin(request: Request): boolean {
  const origin = request.get("origin");
  return origin !== undefined && URL.canParse(origin) && new URL(origin).host === request.get("host");
}
