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
 * Who looks at an operators' page: by Bearer key, or by the session of a login whose key is good still.
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

/** @throws AppError `wrong_credential` for anybody but an operator or a viewer. */
export function requireOperator(caller: Caller): KeyCaller {
  if (caller.kind === "operator" || caller.kind === "viewer") return caller;
  throw new AppError("wrong_credential", "These pages need an operator's or a viewer's key.");
}

const READING = new Set(["GET", "HEAD"]);

/** Whether a request changes nothing. */
export function isReading(request: Request): boolean {
  return READING.has(request.method);
}

/** A viewer reads only. @throws AppError `forbidden`. */
export function requireMayDo(caller: KeyCaller, request: Request): void {
  if (caller.kind === "viewer" && !isReading(request))
    throw new AppError("forbidden", "A viewer may only look.");
}
