import { markDead, type DeadCode } from "../../shared/db/messages/dead-messages.ts";
import { recordAttempt } from "../../shared/db/messages/delivery-attempts.ts";
import {
  claimMessages,
  endBatch,
  rescheduleOutbox,
  type Claim,
  type ClaimedMessage,
  type SentMessage,
} from "../../shared/db/messages/outbox.ts";
import type { LeasedRoom } from "../../shared/db/rooms/room-lease.ts";
import type { RoomSnapshot } from "../../shared/db/rooms/room-snapshot.ts";
import { DEFAULT_MAX_AGE_MS } from "../../shared/db/tenants/tenants.ts";
import type { JobPayload } from "../../shared/queues/index.ts";
import { DONE, type JobResult, type WorkerContext } from "../runtime/context.ts";
import { SendFailed, sendMessage } from "../outbound/send-message.ts";
import { NotWanted } from "../reconcile/ensure-joined.ts";
import { NOT_ANSWERING } from "../matrix/homeserver/breaker.ts";
import { decideRetry, isRefusal } from "../outbound/retry.ts";
import { numberAndPublish } from "../outbound/number-messages.ts";
import { reportDeadMessage } from "../outbound/report-dead-message.ts";
import { LeaseLost, withRoomLease, type RoomLease } from "../runtime/room-lease.ts";

/** A job ends after this where another room may wait for its slot. */
const CONTENDED_SLICE_MS = 500;
/** A job ends after this where no room waits. It is longer, since a new job costs as much as a few messages. */
const SLICE_MS = 5_000;

/**
 * Drains one room: sends its queued messages to Matrix one after the other, in the order accepted. The room's lease makes
 * this the only drain. The transaction id makes a repeated send the same event.
 */
export async function handleOutboundMessage(
  context: WorkerContext,
  payload: JobPayload<"outbound-message">,
): Promise<JobResult> {
  const result = await withRoomLease(
    context,
    payload,
    (lease, room) => drainIfActive(context, room, lease),
    context.outboundBatchSize.batchMessages(),
  );
  return result ?? DONE;
}

async function drainIfActive(context: WorkerContext, room: LeasedRoom, lease: RoomLease): Promise<JobResult> {
  if (!room.tenant_is_active) return DONE;
  if (!room.is_deleted) return drain(context, room, lease);
  // The deletion marked its messages dead: nothing is due here any more.
  lease.settle(room.claimed_order, []);
  return DONE;
}

async function drain(context: WorkerContext, room: LeasedRoom, lease: RoomLease): Promise<JobResult> {
  // Not due yet: a new message wakes a room whose delayed job Redis has lost, for example. Postgres decides.
  if (room.outbox_wait_ms > 0) return { retryInMs: room.outbox_wait_ms };
  const isOver = startSlice(context);
  let claim: Claim = { lastOrder: room.claimed_order, messages: room.claimed, isWanted: false };
  for (;;) {
    const { sent, failure } = await sendBatch(context, room, claim.messages, { lease, isOver });
    if (sent.length > 0) context.hitFailpoint("between homeserver answer and mark");
    const isWhole = sent.length === claim.messages.length;
    const reached = claim.messages.at(-1)?.order_number ?? claim.lastOrder;
    // The claim reached the room's last message. The release of the lease finds what was accepted since.
    if (isWhole && reached >= claim.lastOrder) {
      lease.settle(claim.lastOrder, sent);
      return DONE;
    }
    if (!isWhole || claim.isWanted || isOver()) {
      const untried = claim.messages.slice(sent.length + (failure === null ? 0 : 1));
      await markAndUnclaim(context, room, lease, { sent, untried });
      if (failure !== null) return { retryInMs: await settleFailure(context, room, failure, lease) };
      await rescheduleOutbox(context.db, room.id, lease.fence, { delayMs: 0, failed: false });
      // The release of the lease wakes the room, except in a process that stops: there the job itself is repeated.
      return context.stopping.aborted ? { retryInMs: 0 } : DONE;
    }
    claim = await markAndClaim(context, room, lease, { sent, afterOrder: reached });
  }
}

/** Starts a room's time slice. The function returns whether it is over: the process stops, or other rooms may wait. */
function startSlice(context: WorkerContext): () => boolean {
  const startedAtMs = performance.now();
  return () => {
    const sliceMs = context.isContended() ? CONTENDED_SLICE_MS : SLICE_MS;
    return context.stopping.aborted || performance.now() - startedAtMs > sliceMs;
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

/** Sends claimed messages until one fails or the room's time slice is over. */
async function sendBatch(
  context: WorkerContext,
  room: RoomSnapshot,
  messages: readonly ClaimedMessage[],
  { lease, isOver }: { lease: RoomLease; isOver: () => boolean },
): Promise<Batch> {
  const startedAtMs = performance.now();
  const elapsedMs = () => performance.now() - startedAtMs;
  const batch: Batch = { sent: [], failure: null };
  if (messages.some((message) => !message.is_numbered)) await numberAndPublish(context, room.id);
  const { matrix_room_id: startedIn } = room;
  for (const message of messages) {
    if (isOver()) break;
    try {
      batch.sent.push({ id: message.id, eventId: await sendMessage(context, room, message, lease) });
    } catch (error) {
      batch.failure = { message, error };
      // The room was replaced: what this batch sent to the former Matrix room is sent again, in its order.
      if (startedIn !== null && room.matrix_room_id !== startedIn) batch.sent = [];
      break;
    }
    if (!message.sender_is_joined || !message.sender_is_registered)
      rememberSender(messages, message.sender_id);
    context.metrics.messagesSent.inc();
    context.metrics.acceptedToSent.observe((message.age_ms + elapsedMs()) / 1_000);
    context.log.info(logFields(room, message), "message sent");
  }
  context.outboundBatchSize.addSample(batch.sent.length, elapsedMs());
  return batch;
}

/**
 * Marks what was sent and queues again what was claimed and not tried, so that the removal of its sender can mark it dead.
 * What an earlier job had claimed stays claimed: it may be sent. @throws LeaseLost
 */
async function markAndUnclaim(
  context: WorkerContext,
  room: RoomSnapshot,
  lease: RoomLease,
  { sent, untried }: { sent: readonly SentMessage[]; untried: readonly ClaimedMessage[] },
): Promise<void> {
  const ids = untried.filter((message) => !message.was_sending).map(({ id }) => id);
  if (sent.length + ids.length === 0) return;
  if (!(await endBatch(context.db, room.id, lease.fence, { sent, untried: ids }))) throw new LeaseLost();
}

/** Fields by which a message is found in the logs of every tier. */
function logFields(room: RoomSnapshot, { id, request_id: requestId }: ClaimedMessage) {
  return { room: room.id, message: id, requestId };
}

/** The sender of a sent message is registered and joined for the rest of the batch too. */
function rememberSender(messages: readonly ClaimedMessage[], senderId: string): void {
  for (const message of messages) {
    if (message.sender_id !== senderId) continue;
    message.sender_is_registered = true;
    message.sender_is_joined = true;
  }
}

/** Reschedules the room or marks the message dead. Returns the delay until the next attempt, in milliseconds. */
async function settleFailure(
  context: WorkerContext,
  room: RoomSnapshot,
  { message, error }: { message: ClaimedMessage; error: unknown },
  lease: RoomLease,
): Promise<number> {
  const { db } = context;
  if (error instanceof NotWanted)
    return endMessage(context, room, lease, { message, code: "sender_removed" });
  if (!(error instanceof SendFailed)) throw error;
  const { step, failure: cause } = error;
  const isRefused = isRefusal({ kind: cause.kind, step });
  // While the breaker is open there is no attempt.
  if (cause.errcode !== NOT_ANSWERING)
    await recordAttempt(db, {
      tenantId: room.tenant_id,
      messageId: message.id,
      failure: cause.kind,
      detail: cause.message,
      isRefused,
    });
  const failure = {
    kind: cause.kind,
    step,
    attempts: isRefused ? message.attempts : room.outbox_attempts,
    ageMs: message.age_ms,
    maxAgeMs: room.max_age_ms ?? DEFAULT_MAX_AGE_MS,
    retryAfterMs: cause.retryAfterMs,
  };
  const decision = decideRetry(failure, context.chance());
  if (decision.action === "dead") return endMessage(context, room, lease, { message, code: decision.code });
  // A 429 is no failed attempt, so that `resume-after-outage.ts` does not shorten the delay that the homeserver asked for.
  const failed = cause.kind !== "limited";
  await rescheduleOutbox(db, room.id, lease.fence, { delayMs: decision.delayMs, failed });
  context.log.warn(
    { ...logFields(room, message), err: cause, kind: cause.kind, step, delayMs: decision.delayMs },
    "message rescheduled",
  );
  return decision.delayMs;
}

/** Marks a message dead. The messages after it are due at once, in a new job. Returns their delay. @throws LeaseLost */
async function endMessage(
  context: WorkerContext,
  room: RoomSnapshot,
  lease: RoomLease,
  { message, code }: { message: ClaimedMessage; code: DeadCode },
): Promise<number> {
  const entry = await markDead(context.db, room.id, lease.fence, { id: message.id, code });
  if (entry === null) throw new LeaseLost();
  await reportDeadMessage(context, entry, { requestId: message.request_id, code });
  await rescheduleOutbox(context.db, room.id, lease.fence, { delayMs: 0, failed: false });
  return 0;
}
