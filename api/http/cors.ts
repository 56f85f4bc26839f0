import cors from "cors";
import type { Handler, Request } from "express";
import { AppError } from "../../shared/contract/errors.ts";
import { isTenantOrigin } from "../../shared/auth/origins.ts";
import type { Caller } from "../auth/authenticate.ts";

const READABLE = {
  exposedHeaders: "Location, Retry-After, X-Request-Id, Idempotency-Replayed, Preference-Applied",
};
const WRITABLE = {
  methods: "GET, PUT, POST, PATCH, DELETE",
  allowedHeaders: "Authorization, Content-Type, Idempotency-Key, Prefer, X-Request-Id",
  /** Seconds. */
  maxAge: 600,
};
/** Keeps `cors` from sending its defaults. */
const NOTHING = { methods: [], allowedHeaders: [] };

/**
 * Lets pages of known origins read the API. An unknown origin gets no CORS header. Credentials are headers, never
 * cookies, and no answer allows every origin with `*`. Which tenant a page may act for is checked by `requireOrigin`,
 * once the tenant is known.
 */
export function createCors(isKnown: (origin: string) => boolean): Handler {
  return cors((request, decide) => {
    const { origin } = request.headers;
    const isAllowed = origin !== undefined && isKnown(origin);
    const isPreflight = request.headers["access-control-request-method"] !== undefined;
    decide(null, {
      origin: isAllowed ? [origin] : [],
      ...(isAllowed ? READABLE : {}),
      ...(isAllowed && isPreflight ? WRITABLE : NOTHING),
      // An OPTIONS that is no preflight is a request like any other.
      preflightContinue: !isPreflight,
    });
  });
}

/** @throws AppError `forbidden` for a page of an origin that may not act for the caller's tenant. */
export function requireOrigin(request: Request, caller: Caller, configured: readonly string[]): void {
  const origin = request.get("origin");
  if (origin === undefined || isOwnOrigin(request)) return;
  if (!isTenantOrigin(origin, caller.limits.allowedOrigins, configured))
    throw new AppError("forbidden", "Pages of this origin may not act for this tenant.");
}

/**
 * Whether a page of the API itself sends the request: of the same scheme, host and port. Behind a proxy that ends TLS,
 * the scheme is the one that a trusted proxy names.
 */
export function isOwnOrigin(request: Request): boolean {
  const origin = request.get("origin");
  const own = `${request.protocol}://${request.get("host") ?? ""}`;
  return origin !== undefined && URL.canParse(own) && new URL(own).origin === origin;
}
