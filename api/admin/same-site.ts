import type { Request } from "express";
import { AppError } from "../../shared/contract/errors.ts";
import { isOwnOrigin } from "../http/cors.ts";

/**
 * Refuses a request that a page of another site made a browser send with an operator's cookie. A browser names the
 * request's source in `Sec-Fetch-Site`, an older one in `Origin`; a request without both is not from a browser.
 * @throws AppError `forbidden`.
 */
export function requireSameSite(request: Request): void {
  const site = request.get("sec-fetch-site");
  const origin = request.get("origin");
  const isSameOrigin =
    site === undefined ? origin === undefined || isOwnOrigin(request) : site === "same-origin";
  if (!isSameOrigin) throw new AppError("forbidden", "This was sent by a page of another site.");
}
