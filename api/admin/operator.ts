import type { Request } from "express";
import { findKeyHolderById } from "../../shared/db/tenants/api-keys.ts";
import { isSessionEnded } from "../../shared/db/tenants/sessions.ts";
import type { Db } from "../../shared/db/connection/open.ts";
import { AppError } from "../../shared/contract/errors.ts";
import type { SealKey } from "../../shared/platform/seal.ts";
import { callerOf, type Authenticate, type Caller, type KeyCaller } from "../auth/authenticate.ts";
import { findSession, nameSession, readSession } from "./session.ts";

export type OperatorDeps = {
  db: Db;
  sealKeys: readonly SealKey[];
  authenticate: Authenticate;
  now: () => number;
};

/** What a request to the operators' pages shows: a Bearer key, or the session of a login. */
export function readOperatorCredential(request: Request): string | null {
  return request.get("authorization") ?? findSession(request.get("cookie"));
}

/**
 * The caller that the operators' pages see: by Bearer key, or by the session of a login that has not ended and whose key is
 * still valid.
 * @throws AppError `unauthorized` or `forbidden`.
 */
export async function authenticateOperator(deps: OperatorDeps, request: Request): Promise<Caller> {
  const authorization = request.get("authorization");
  if (authorization !== undefined) return deps.authenticate(authorization);
  const session = findSession(request.get("cookie"));
  const keyId = session === null ? null : readSession(deps.sealKeys, session, deps.now());
  const holder = keyId === null ? null : await findKeyHolderById(deps.db, keyId);
  const isEnded =
    holder !== null && session !== null && (await isSessionEnded(deps.db, holder, nameSession(session)));
  if (holder === null || isEnded)
    throw new AppError("unauthorized", "Log in with an operator's or a viewer's key.");
  return callerOf(holder);
}

/** @throws AppError `wrong_credential` unless the caller is an operator or a viewer. */
export function requireOperator(caller: Caller): KeyCaller {
  if (caller.kind === "operator" || caller.kind === "viewer") return caller;
  throw new AppError("wrong_credential", "These pages need an operator's or a viewer's key.");
}

const READ_METHODS = new Set(["GET", "HEAD"]);

/** Whether a request changes nothing. */
export function isRead(request: Request): boolean {
  return READ_METHODS.has(request.method);
}

/** @throws AppError `forbidden` when a viewer tries to change something. */
export function requireWriteAccess(caller: KeyCaller, request: Request): void {
  if (caller.kind === "viewer" && !isRead(request))
    throw new AppError("forbidden", "A viewer may only look.");
}
