import { hidesRefused, markDead, type DeadCode } from "../../shared/db/messages/dead/dead-messages.ts";
import { recordAttempt } from "../../shared/db/messages/delivery-attempts.ts";
import { makeOutboxDue, rescheduleOutbox, type ClaimedMessage } from "../../shared/db/messages/outbox.ts";
import type { RoomSnapshot } from "../../shared/db/rooms/room-snapshot.ts";
import { DEFAULT_MAX_AGE_MS } from "../../shared/db/tenants/tenants.ts";
import { NOT_ANSWERING } from "../matrix/homeserver/breaker.ts";
import { NotWanted } from "../reconcile/ensure-joined.ts";
import type { WorkerContext } from "../runtime/context.ts";
import { LeaseLost, type RoomLease } from "../runtime/room-lease.ts";
import type { Failure } from "./drain-modes.ts";
import { NotSendable } from "./send/not-sendable.ts";
import { reportDeadMessage } from "./report-dead-message.ts";
import { decideRetry, isRefusal, type Decision } from "./retry.ts";
import { SendFailed } from "./send/send-failed.ts";

/**
 * Reschedules the room of a message that could not be sent, or marks the message dead. Returns the delay until the room is due,
 * in milliseconds. @throws LeaseLost, and what is neither a failure of a Matrix call nor of the sender's membership
 */
export async function settleFailure(
  context: WorkerContext,
  room: RoomSnapshot,
  lease: RoomLease,
  { message, error }: Failure,
): Promise<number> {
  if (error instanceof NotWanted) return endMessage(context, room, lease, message, "sender_removed");
  if (error instanceof NotSendable) return endMessage(context, room, lease, message, error.code);
  if (!(error instanceof SendFailed)) throw error;
  const decision = await decide(context, room, message, error);
  if (decision.action === "dead") return endMessage(context, room, lease, message, decision.code);
  const { failure: cause, step } = error;
  const { delayMs, failingMs } = decision;
  // A 429 is no failed attempt, so that `resume-after-outage.ts` does not shorten the delay that the homeserver asked for.
  const isAttempt = cause.kind !== "limited";
  await rescheduleOutbox(context.db, room.id, lease.fence, { delayMs, isAttempt, failingMs });
  context.log.warn(
    { ...logFields(room, message), err: cause, kind: cause.kind, step, delayMs },
    "message rescheduled",
  );
  return delayMs;
}

async function decide(
  { db, recentSends, chance }: WorkerContext,
  room: RoomSnapshot,
  message: ClaimedMessage,
  { step, failure: { kind, errcode, message: detail, retryAfterMs } }: SendFailed,
): Promise<Decision> {
  const isRefused = isRefusal({ kind, step });
  const attempt = { tenantId: room.tenant_id, messageId: message.id, failure: kind, detail };
  const failure = {
    kind,
    step,
    retryAfterMs,
    attempts: isRefused ? message.attempts : room.outbox_attempts,
    ageMs: message.age_ms,
    maxAgeMs: room.max_age_ms ?? DEFAULT_MAX_AGE_MS,
    // While the breaker is open there is no attempt.
    failing: errcode === NOT_ANSWERING ? null : await recordAttempt(db, { ...attempt, isRefused }),
    othersSentAgoMs: recentSends.othersAgoMs(room.homeserver_id, room.id),
  };
  return decideRetry(failure, chance());
}

/** Marks a message dead. The messages after it are due at once, in a new job. Returns their delay. @throws LeaseLost */
async function endMessage(
  context: WorkerContext,
  room: RoomSnapshot,
  lease: RoomLease,
  { id, request_id: requestId }: ClaimedMessage,
  code: DeadCode,
): Promise<number> {
  const hides = hidesRefused(code, room.on_refused);
  const entries = await markDead(context.db, room.id, lease.fence, { id, code, hides });
  if (entries === null) throw new LeaseLost();
  if (entries.length > 0)
    await reportDeadMessage(context, entries, { room: room.id, message: id, requestId, code });
  await makeOutboxDue(context.db, room.id, lease.fence);
  return 0;
}

/** Fields by which a message is found in the logs of every tier. */
export function logFields({ id: room }: RoomSnapshot, { id, request_id: requestId }: ClaimedMessage) {
  return { room, message: id, requestId };
}
