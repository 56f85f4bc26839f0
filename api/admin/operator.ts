import type { Request } from "express";
import { findKeyHolderById } from "../../shared/db/tenants/api-keys.ts";
import type { Db } from "../../shared/db/connection/open.ts";
import { AppError } from "../../shared/contract/errors.ts";
import type { SealKey } from "../../shared/platform/seal.ts";
import { callerOf, type Authenticate, type Caller, type KeyCaller } from "../auth/authenticate.ts";
import { findSession, readSession } from "./session.ts";

export type OperatorDeps = {
  db: Db;
  sealKeys: readonly SealKey[];
  authenticate: Authenticate;
  now: () => number;
};

/**
 * The operator or viewer who sends a request: by Bearer key, or by the session of a login whose key is still valid.
 * @throws AppError `unauthorized`, `forbidden`, or `wrong_credential`.
 */
export async function identifyOperator(deps: OperatorDeps, request: Request): Promise<KeyCaller> {
  const authorization = request.get("authorization");
  if (authorization !== undefined) return requireOperator(await deps.authenticate(authorization));
  const session = findSession(request.get("cookie"));
  const keyId = session === null ? null : readSession(deps.sealKeys, session, deps.now());
  const holder = keyId === null ? null : await findKeyHolderById(deps.db, keyId);
  if (!holder) throw new AppError("unauthorized", "Log in with an operator's or a viewer's key.");
  return requireOperator(callerOf(holder));
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
