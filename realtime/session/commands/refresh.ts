import { AppError, errorText } from "../../../shared/contract/errors.ts";
import type { Log } from "../../../shared/platform/log.ts";
import type { Policy } from "../../policy/policy.ts";
import { CLOSE, CONNECT_REFUSAL, REPLY_ERROR } from "../../protocol/codes.ts";
import type { CommandOf } from "../../protocol/commands.ts";
import type { Connection } from "../connection.ts";

export type RefreshDeps = { policy: Pick<Policy, "authenticate">; log: Log };

/** Takes a new token of the same user, which extends the life of the connection. */
export async function refresh(
  { policy, log }: RefreshDeps,
  connection: Connection,
  { id, request }: CommandOf<"refresh">,
): Promise<void> {
  try {
    const identity = await policy.authenticate(request.token, connection.origin);
    if (identity.userRef.id !== connection.userId) {
      connection.close(CLOSE.invalidToken);
      return;
    }
    const nowMs = Date.now();
    connection.identity = identity;
    connection.expiresAtMs = Math.max(identity.expiresAtMs, nowMs);
    const ttlS = Math.max(1, Math.floor((identity.expiresAtMs - nowMs) / 1_000));
    connection.send({ kind: "reply", id, method: "refresh", result: { client: connection.id, ttlS } });
  } catch (error) {
    const refusal = error instanceof AppError ? CONNECT_REFUSAL[error.code] : { error: REPLY_ERROR.internal };
    if ("close" in refusal) connection.close(refusal.close);
    else if (refusal.error === REPLY_ERROR.tokenExpired) connection.refuse(id, REPLY_ERROR.refreshExpired);
    else {
      log.warn({ connection: connection.id, reason: errorText(error) }, "refresh failed");
      connection.refuse(id, refusal.error);
    }
  }
}
