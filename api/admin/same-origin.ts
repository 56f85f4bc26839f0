import type { Request } from "express";
import { AppError } from "../../shared/contract/errors.ts";
import { isOwnOrigin } from "../http/cors.ts";

/**
 * Refuses what a page of another site makes a browser send with an operator's cookie. A browser says where a request
 * comes from (`Sec-Fetch-Site`, or `Origin` where that is not sent); what says neither is no browser.
 * @throws AppError `forbidden`.
 */
export function requireSameSite(request: Request): void {
  const site = request.get("sec-fetch-site");
  const origin = request.get("origin");
  const isOurs = site === undefined ? origin === undefined || isOwnOrigin(request) : site === "same-origin";
  if (!isOurs) throw new AppError("forbidden", "This was sent by a page of another site.");
}
