import { newId } from "../../shared/ids.ts";
import {
  claimMessages,
  markDead,
  markSent,
  postponeOutbox,
  recordAttempt,
  type ClaimedMessage,
  type SentMessage,
} from "../../shared/db/outbox.ts";
import type { JobPayload } from "../../shared/jobs/index.ts";
import { DONE, type JobResult, type WorkerContext } from "../context.ts";
import type { RoomFacts } from "../converge/room-facts.ts";
import { sendMessage } from "../converge/send-message.ts";
import { NotWanted } from "../converge/ensure-joined.ts";
import { MatrixFailure } from "../matrix/failure.ts";
import { decideRetry, DEFAULT_MAX_AGE_MS } from "../retry.ts";
import { LeaseLost, withRoomLease, type RoomLease } from "../room-lease.ts";
import { publishFailed } from "../publish-failed.ts";

/** A room that is never quiet gives way to others after this. */
const SLICE_MS = 500;
const SMALLEST_BATCH = 4;
const LARGEST_BATCH = 100;
/** Messages are marked after this much sending, so that a crash repeats little and people see `sent` soon. */
const BATCH_TARGET_MS = 100;

/**
 * Sends one room's queued messages to Matrix, one after the other, in the order accepted. The lease makes it the only
 * one; the transaction id makes a repeated send the same event.
 */
export async function handleOutboundMessage(
  context: WorkerContext,
  payload: JobPayload<"outbound-message">,
): Promise<JobResult> {
  const { tenantId, roomId } = payload;
  if (!context.outboundGate.enter(tenantId, roomId)) return DONE;
  try {
    const result = await withRoomLease(context, payload, async (lease, room) =>
      room.tenant_is_active ? drain(context, room, lease) : DONE,
    );
    return result ?? DONE;
  } finally {
    const next = context.outboundGate.leave(tenantId);
    if (next !== null) void context.wake("outbound-message", { tenantId, roomId: next });
  }
}

async function drain(context: WorkerContext, room: RoomFacts, lease: RoomLease): Promise<JobResult> {
  // Woken too early, as by a new message after Redis lost the job that waited: Postgres decides.
  if (room.outbox_wait_ms > 0) return { retryInMs: room.outbox_wait_ms };
  const startedAtMs = performance.now();
  let afterOrder = 0;
  let limit = SMALLEST_BATCH;
  for (;;) {
    lease.check();
    const claim = await claimMessages(context.db, room.id, { fence: lease.fence, afterOrder, limit });
    if (claim === null) throw new LeaseLost();
    const last = claim.messages.at(-1);
    if (!last) {
      lease.settle(claim.lastOrder);
      return DONE;
    }
    const batchStartedAtMs = performance.now();
    const postponedMs = await sendBatch(context, room, claim.messages, lease);
    if (postponedMs !== null) return { retryInMs: postponedMs };
    afterOrder = last.order_number;
    // Claimed all there was: what came since is found by the next claim, or by whoever accepted it.
    if (last.order_number >= claim.lastOrder) {
      lease.settle(claim.lastOrder);
      return DONE;
    }
    if (performance.now() - startedAtMs > SLICE_MS || context.stopping.aborted) {
      await postponeOutbox(context.db, room.id, lease.fence, { delayMs: 0, failed: false });
      return DONE;
    }
    limit = nextLimit(limit, performance.now() - batchStartedAtMs);
  }
}

function nextLimit(limit: number, batchMs: number): number {
  if (batchMs > BATCH_TARGET_MS) return Math.max(SMALLEST_BATCH, Math.floor(limit / 2));
  return Math.min(LARGEST_BATCH, limit * 2);
}

/** Sends a claimed batch and marks it. Answers the pause in milliseconds when a message must wait, else null. */
async function sendBatch(
  context: WorkerContext,
  room: RoomFacts,
  messages: readonly ClaimedMessage[],
  lease: RoomLease,
): Promise<number | null> {
  const claimedAtMs = performance.now();
  const sent: SentMessage[] = [];
  let failure: { message: ClaimedMessage; error: unknown } | null = null;
  for (const message of messages) {
    if (context.stopping.aborted) break;
    try {
      sent.push({ id: message.id, eventId: await sendMessage(context, room, message, lease) });
      if (!message.sender_is_joined || !message.sender_is_registered)
        rememberSender(messages, message.sender_id);
      context.metrics.messagesSent.inc();
      context.metrics.acceptedToSent.observe((message.age_ms + performance.now() - claimedAtMs) / 1_000);
    } catch (error) {
      failure = { message, error };
      break;
    }
  }
  if (sent.length > 0) context.reach("between homeserver answer and mark");
  if (sent.length > 0 && !(await markSent(context.db, room.id, lease.fence, sent))) throw new LeaseLost();
  for (const message of messages.slice(0, sent.length))
    context.log.info(naming(room, message), "message sent");
  if (failure !== null) return settleFailure(context, room, failure, lease);
  if (sent.length === messages.length) return null;
  // Asked to stop: another process goes on with the rest at once.
  await postponeOutbox(context.db, room.id, lease.fence, { delayMs: 0, failed: false });
  return 0;
}

/** By what a message is found in the logs of every tier. */
function naming(room: RoomFacts, { id, request_id: requestId }: ClaimedMessage) {
  return { room: room.id, message: id, requestId };
}

/** What was made for one message of a sender serves the sender's others in the batch. */
function rememberSender(messages: readonly ClaimedMessage[], senderId: string): void {
  for (const message of messages) {
    if (message.sender_id !== senderId) continue;
    message.sender_is_registered = true;
    message.sender_is_joined = true;
  }
}

async function settleFailure(
  context: WorkerContext,
  room: RoomFacts,
  { message, error }: { message: ClaimedMessage; error: unknown },
  lease: RoomLease,
): Promise<number | null> {
  const { db } = context;
  if (error instanceof NotWanted) {
    await giveUp(context, room, lease, message, {
      code: "sender_removed",
      reason: "The sender was removed from the room before the message was sent.",
    });
    return afterGivingUp(context, room, lease);
  }
  if (!(error instanceof MatrixFailure)) throw error;
  await recordAttempt(db, {
    id: newId(),
    tenantId: room.tenant_id,
    messageId: message.id,
    failure: error.kind,
    detail: error.message,
  });
  const tried = {
    kind: error.kind,
    // Waiting for a homeserver is no try of this message: only its own refusals count against it.
    attempts: error.kind === "forbidden" ? message.attempts : room.outbox_attempts,
    ageMs: message.age_ms,
    maxAgeMs: room.max_age_ms ?? DEFAULT_MAX_AGE_MS,
    retryAfterMs: error.retryAfterMs,
  };
  const decision = decideRetry(tried, context.chance());
  if (decision.action === "dead") {
    await giveUp(context, room, lease, message, decision);
    return afterGivingUp(context, room, lease);
  }
  await postponeOutbox(db, room.id, lease.fence, { delayMs: decision.delayMs, failed: true });
  context.log.warn({ ...naming(room, message), err: error, delayMs: decision.delayMs }, "message postponed");
  return decision.delayMs;
}

async function giveUp(
  context: WorkerContext,
  room: RoomFacts,
  lease: RoomLease,
  message: ClaimedMessage,
  { code, reason }: { code: string; reason: string },
): Promise<void> {
  if (!(await markDead(context.db, room.id, lease.fence, { id: message.id, code, reason })))
    throw new LeaseLost();
  context.metrics.messagesDead.inc({ code });
  context.log.error({ ...naming(room, message), code }, "message given up");
  await publishFailed(context, room, { id: message.id, code, reason });
}

/** What was claimed behind the dead message is still to be sent: the room goes on at once, as a new job. */
async function afterGivingUp(context: WorkerContext, room: RoomFacts, lease: RoomLease): Promise<number> {
  await postponeOutbox(context.db, room.id, lease.fence, { delayMs: 0, failed: false });
  return 0;
}
