import { newId } from "../../shared/platform/ids.ts";
import {
  claimMessages,
  endBatch,
  markDead,
  rescheduleOutbox,
  recordAttempt,
  type Claim,
  type ClaimedMessage,
  type SentMessage,
} from "../../shared/db/messages/outbox.ts";
import { DEFAULT_MAX_AGE_MS } from "../../shared/db/tenants/tenants.ts";
import type { JobPayload } from "../../shared/queues/index.ts";
import { DONE, type JobResult, type WorkerContext } from "../runtime/context.ts";
import type { RoomSnapshot, LeasedRoom } from "../../shared/db/rooms/work-room.ts";
import { sendMessage } from "../outbound/send-message.ts";
import { NotWanted } from "../reconcile/ensure-joined.ts";
import { NOT_ANSWERING } from "../matrix/homeserver/breaker.ts";
import { MatrixFailure } from "../matrix/http/failure.ts";
import { decideRetry } from "../outbound/retry.ts";
import { reportDeadMessage } from "../outbound/report-dead-message.ts";
import { LeaseLost, withRoomLease, type RoomLease } from "../runtime/room-lease.ts";

/** A room that is never quiet gives way after this where others may wait for its place. */
const SLICE_MS = 500;
/** A room that keeps nobody waiting goes on for this long in one job: giving way costs as much as a few messages. */
const LONGEST_MS = 5_000;

/**
 * Sends one room's queued messages to Matrix, one after the other, in the order accepted. The lease makes it the only
 * one; the transaction id makes a repeated send the same event.
 */
export async function handleOutboundMessage(
  context: WorkerContext,
  payload: JobPayload<"outbound-message">,
): Promise<JobResult> {
  const { tenantId, roomId } = payload;
  if (!context.outboundSemaphore.enter(tenantId, roomId)) return DONE;
  try {
    const result = await withRoomLease(
      context,
      payload,
      (lease, room) => sendFrom(context, room, lease),
      context.outboundBatchSize.batchMessages(),
    );
    return result ?? DONE;
  } finally {
    const next = context.outboundSemaphore.leave(tenantId);
    if (next !== null) void context.wake("outbound-message", { tenantId, roomId: next });
  }
}

async function sendFrom(context: WorkerContext, room: LeasedRoom, lease: RoomLease): Promise<JobResult> {
  if (!room.tenant_is_active) return DONE;
  if (!room.is_deleted) return drain(context, room, lease);
  // Its messages ended with it: nothing is due here any more.
  lease.settle(room.claimed_order, []);
  return DONE;
}

async function drain(context: WorkerContext, room: LeasedRoom, lease: RoomLease): Promise<JobResult> {
  // Woken too early, as by a new message after Redis lost the job that waited: Postgres decides.
  if (room.outbox_wait_ms > 0) return { retryInMs: room.outbox_wait_ms };
  const isOver = watchTurn(context, room.tenant_id);
  let claim: Claim = { lastOrder: room.claimed_order, messages: room.claimed, isWanted: false };
  for (;;) {
    const { sent, failure } = await sendBatch(context, room, claim.messages, { lease, isOver });
    if (sent.length > 0) context.hitFailpoint("between homeserver answer and mark");
    const isWhole = sent.length === claim.messages.length;
    const reached = claim.messages.at(-1)?.order_number ?? claim.lastOrder;
    // Claimed all there was: what came since is found when the lease is given back.
    if (isWhole && reached >= claim.lastOrder) {
      lease.settle(claim.lastOrder, sent);
      return DONE;
    }
    if (!isWhole || claim.isWanted || isOver()) {
      const untried = claim.messages.slice(sent.length + (failure === null ? 0 : 1));
      await end(context, room, lease, { sent, untried });
      if (failure !== null) return { retryInMs: await settleFailure(context, room, failure, lease) };
      await rescheduleOutbox(context.db, room.id, lease.fence, { delayMs: 0, failed: false });
      // Asked to stop, nobody is woken from here: the job itself goes on elsewhere.
      return context.stopping.aborted ? { retryInMs: 0 } : DONE;
    }
    claim = await markAndClaim(context, room, lease, { sent, afterOrder: reached });
  }
}

/** Whether a room's turn is over: asked to stop, or others may wait for its place. */
function watchTurn(context: WorkerContext, tenantId: string): () => boolean {
  const startedAtMs = performance.now();
  return () => {
    const turnMs = context.outboundSemaphore.isCrowded(tenantId) ? SLICE_MS : LONGEST_MS;
    return context.stopping.aborted || performance.now() - startedAtMs > turnMs;
  };
}

/** Marks what was sent and claims what follows. @throws LeaseLost */
async function markAndClaim(
  context: WorkerContext,
  room: RoomSnapshot,
  lease: RoomLease,
  { sent, afterOrder }: { sent: readonly SentMessage[]; afterOrder: number },
): Promise<Claim> {
  lease.check();
  const limit = context.outboundBatchSize.batchMessages();
  const claim = await claimMessages(context.db, room.id, { fence: lease.fence, sent, afterOrder, limit });
  if (claim === null) throw new LeaseLost();
  return claim;
}

type Batch = { sent: SentMessage[]; failure: { message: ClaimedMessage; error: unknown } | null };

/** Sends a claimed batch until one fails or the room's turn is over. */
async function sendBatch(
  context: WorkerContext,
  room: RoomSnapshot,
  messages: readonly ClaimedMessage[],
  { lease, isOver }: { lease: RoomLease; isOver: () => boolean },
): Promise<Batch> {
  const startedAtMs = performance.now();
  const elapsedMs = () => performance.now() - startedAtMs;
  const batch: Batch = { sent: [], failure: null };
  for (const message of messages) {
    if (isOver()) break;
    try {
      batch.sent.push({ id: message.id, eventId: await sendMessage(context, room, message, lease) });
    } catch (error) {
      batch.failure = { message, error };
      break;
    }
    if (!message.sender_is_joined || !message.sender_is_registered)
      rememberSender(messages, message.sender_id);
    context.metrics.messagesSent.inc();
    context.metrics.acceptedToSent.observe((message.age_ms + elapsedMs()) / 1_000);
    context.log.info(naming(room, message), "message sent");
  }
  context.outboundBatchSize.note(batch.sent.length, elapsedMs());
  return batch;
}

/** What was claimed and never tried is not held for ambiguous: it dies with its sender's removal. @throws LeaseLost */
async function end(
  context: WorkerContext,
  room: RoomSnapshot,
  lease: RoomLease,
  { sent, untried }: { sent: readonly SentMessage[]; untried: readonly ClaimedMessage[] },
): Promise<void> {
  const ids = untried.filter((message) => !message.was_sending).map(({ id }) => id);
  if (sent.length + ids.length === 0) return;
  if (!(await endBatch(context.db, room.id, lease.fence, { sent, untried: ids }))) throw new LeaseLost();
}

/** By what a message is found in the logs of every tier. */
function naming(room: RoomSnapshot, { id, request_id: requestId }: ClaimedMessage) {
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

/** Answers the pause in milliseconds. */
async function settleFailure(
  context: WorkerContext,
  room: RoomSnapshot,
  { message, error }: { message: ClaimedMessage; error: unknown },
  lease: RoomLease,
): Promise<number> {
  const { db } = context;
  if (error instanceof NotWanted) {
    await giveUp(context, room, lease, message, {
      code: "sender_removed",
      reason: "The sender was removed from the room before the message was sent.",
    });
    return afterGivingUp(context, room, lease);
  }
  if (!(error instanceof MatrixFailure)) throw error;
  // Held back by the breaker, nothing was tried.
  if (error.errcode !== NOT_ANSWERING)
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
  // Being asked to wait is no failure: a homeserver that answers again cuts short only what waited for its silence.
  const failed = error.kind !== "limited";
  await rescheduleOutbox(db, room.id, lease.fence, { delayMs: decision.delayMs, failed });
  context.log.warn({ ...naming(room, message), err: error, delayMs: decision.delayMs }, "message postponed");
  return decision.delayMs;
}

async function giveUp(
  context: WorkerContext,
  room: RoomSnapshot,
  lease: RoomLease,
  message: ClaimedMessage,
  { code, reason }: { code: string; reason: string },
): Promise<void> {
  const position = await markDead(context.db, room.id, lease.fence, { id: message.id, code, reason });
  if (position === null) throw new LeaseLost();
  await reportDeadMessage(context, room, { ...naming(room, message), code, reason, position });
}

/** What was claimed behind the dead message is still to be sent: the room goes on at once, as a new job. */
async function afterGivingUp(context: WorkerContext, room: RoomSnapshot, lease: RoomLease): Promise<number> {
  await rescheduleOutbox(context.db, room.id, lease.fence, { delayMs: 0, failed: false });
  return 0;
}
