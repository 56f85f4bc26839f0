import {
  claimMessages,
  endBatch,
  finishWithoutEvent,
  makeOutboxDue,
  type ClaimedMessage,
} from "../../shared/db/messages/outbox.ts";
import type { LeasedRoom } from "../../shared/db/rooms/room-lease.ts";
import type { JobPayload } from "../../shared/queues/index.ts";
import { afterBatch, runModes, type Batch, type Mode, type Steps } from "../outbound/drain-modes.ts";
import { redactsRelated } from "../matrix/acts/index.ts";
import { redactDuplicateEvents } from "../outbound/redact-duplicate-events.ts";
import { replayWanted } from "../outbound/replay-wanted.ts";
import { findMentioned } from "../outbound/send/mentioned-people.ts";
import { isByObserver, sendMessage } from "../outbound/send/send-message.ts";
import { logFields, settleFailure } from "../outbound/settle-failure.ts";
import { DONE, type JobResult, type WorkerContext } from "../runtime/context.ts";
import { LeaseLost, withRoomLease, type RoomLease } from "../runtime/room-lease.ts";

/** A job ends after this where another room may wait for its slot. */
const CONTENDED_SLICE_MS = 500;
/** A job ends after this where no room waits. It is longer, since a new job costs as much as a few messages. */
const SLICE_MS = 5_000;

/**
 * Drains one room: sends its queued messages to Matrix one after the other, in the order accepted. The room's lease makes
 * this the only drain. The transaction id makes a repeated send the same event. `workers/outbound/drain-modes.ts` says in which
 * modes a drain is.
 */
export async function handleOutboundMessage(
  context: WorkerContext,
  payload: JobPayload<"outbound-message">,
): Promise<JobResult> {
  const result = await withRoomLease(
    context,
    payload,
    (lease, room) => drainIfDue(context, room, lease),
    context.outboundBatchSize.batchMessages(),
  );
  return result ?? DONE;
}

async function drainIfDue(context: WorkerContext, room: LeasedRoom, lease: RoomLease): Promise<JobResult> {
  if (!room.tenant_is_active) return DONE;
  if (room.is_deleted) {
    // The deletion marked its messages dead: nothing is due here any more.
    lease.settle(room.claimed_order, []);
    return DONE;
  }
  if (room.has_retries) {
    await replayWanted(context, room, lease);
    return { retryInMs: 0 };
  }
  // A new message wakes a room whose delayed job Redis has lost, for example. Postgres decides.
  if (room.outbox_wait_ms > 0) return { retryInMs: room.outbox_wait_ms };
  const claim = { lastOrder: room.claimed_order, messages: room.claimed, isWanted: false };
  return runModes(createSteps(context, room, lease), { mode: "send", claim });
}

/** What a drain does in each mode. @throws LeaseLost */
function createSteps(context: WorkerContext, room: LeasedRoom, lease: RoomLease): Steps {
  const { db, outboundBatchSize } = context;
  const isOver = startSlice(context);
  // For the whole drain: the statement that marks messages sent is the one that claims the next ones.
  const sentEvents = new Map<string, string>();
  return {
    send: async ({ claim }) => {
      const batch = await sendBatch(context, room, claim.messages, { lease, isOver, sentEvents });
      if (batch.sent.length > 0) context.hitFailpoint("between homeserver answer and mark");
      return afterBatch(claim, batch, isOver());
    },
    claim: async ({ sent, afterOrder }) => {
      lease.check();
      const limit = outboundBatchSize.batchMessages();
      const claim = await claimMessages(db, room.id, { fence: lease.fence, sent, afterOrder, limit });
      if (claim === null) throw new LeaseLost();
      await redactDuplicateEvents(context, room, claim.duplicates);
      return { mode: "send", claim };
    },
    settle: ({ sent, order }) => {
      lease.settle(order, sent);
      return Promise.resolve({ mode: "end", ...DONE });
    },
    unclaim: async ({ sent, untried, failure }) => {
      await markAndUnclaim(context, room, lease, { sent, untried });
      return failure === null ? { mode: "yield" } : { mode: "fail", failure };
    },
    fail: async ({ failure }) => ({
      mode: "end",
      retryInMs: await settleFailure(context, room, lease, failure),
    }),
    yield: async () => {
      await makeOutboxDue(db, room.id, lease.fence);
      // The release of the lease wakes the room, except in a process that stops: there the job itself is repeated.
      return { mode: "end", retryInMs: context.stopping.aborted ? 0 : null };
    },
  };
}

/** Starts a room's time slice. The function returns whether it is over: the process stops, or other rooms may wait. */
function startSlice(context: WorkerContext): () => boolean {
  const startedAtMs = performance.now();
  return () => {
    const sliceMs = context.isContended() ? CONTENDED_SLICE_MS : SLICE_MS;
    return context.stopping.aborted || performance.now() - startedAtMs > sliceMs;
  };
}

/** Sends claimed messages until one fails or the room's time slice is over. */
async function sendBatch(
  context: WorkerContext,
  room: LeasedRoom,
  messages: readonly ClaimedMessage[],
  { lease, isOver, sentEvents }: { lease: RoomLease; isOver: () => boolean; sentEvents: Map<string, string> },
): Promise<Batch> {
  const startedAtMs = performance.now();
  const elapsedMs = () => performance.now() - startedAtMs;
  const batch: Batch = { sent: [], failure: null };
  const people = await findMentioned(context.db, room.tenant_id, messages);
  const { matrix_room_id: startedIn } = room;
  let markedUpTo = 0;
  for (const [index, message] of messages.entries()) {
    if (isOver()) break;
    try {
      if (redacts(message) && redactsOneOf(messages.slice(markedUpTo, index), message)) {
        await markAndUnclaim(context, room, lease, { sent: batch.sent.slice(markedUpTo), untried: [] });
        markedUpTo = index;
      }
      const eventId = await sendMessage(context, room, message, { lease, sentEvents, people });
      if (eventId === null) await finish(context, room, lease, message);
      else {
        sentEvents.set(message.id, eventId);
        context.recentSends.add(room.homeserver_id, room.id);
        rememberSender(messages, message);
      }
      batch.sent.push({ id: message.id, eventId });
    } catch (error) {
      batch.failure = { message, error };
      // The room was replaced: what this batch sent to the former Matrix room is sent again, in its order.
      if (startedIn !== null && room.matrix_room_id !== startedIn) batch.sent = [];
      break;
    }
    context.metrics.messagesSent.inc();
    context.metrics.acceptedToSent.observe((message.age_ms + elapsedMs()) / 1_000);
    context.log.info(logFields(room, message), "message sent");
  }
  context.outboundBatchSize.addSample(batch.sent.length, elapsedMs());
  return batch;
}

function redacts({ content }: ClaimedMessage): boolean {
  return redactsRelated(content["kind"]);
}

/**
 * Whether an act redacts one of the messages and acts that were sent and are not marked. A redacted event has no marker any more: the
 * observer recognises it by the id that marking keeps.
 */
function redactsOneOf(unmarked: readonly ClaimedMessage[], { target_id: target }: ClaimedMessage): boolean {
  return unmarked.some((sent) => (sent.id === target || sent.target_id === target) && !redacts(sent));
}

/** Ends an act that makes no event. @throws LeaseLost */
async function finish(
  context: WorkerContext,
  room: LeasedRoom,
  lease: RoomLease,
  { id }: ClaimedMessage,
): Promise<void> {
  if (!(await finishWithoutEvent(context.db, room.id, lease.fence, id))) throw new LeaseLost();
  context.sent.add([room.id]);
}

/**
 * Marks what was sent and queues again what was claimed and not tried, so that the removal of its sender can mark it dead.
 * What an earlier job had claimed stays claimed: it may be sent. @throws LeaseLost
 */
async function markAndUnclaim(
  context: WorkerContext,
  room: LeasedRoom,
  lease: RoomLease,
  { sent, untried }: Pick<Mode<"unclaim">, "sent" | "untried">,
): Promise<void> {
  const ids = untried.filter((message) => !message.was_sending).map(({ id }) => id);
  if (sent.length + ids.length === 0) return;
  const ended = await endBatch(context.db, room.id, lease.fence, { sent, untried: ids });
  if (ended === null) throw new LeaseLost();
  await redactDuplicateEvents(context, room, ended.duplicates);
}

/** The sender of a sent message is registered and joined for the rest of the batch too. */
function rememberSender(messages: readonly ClaimedMessage[], sent: ClaimedMessage): void {
  if (isByObserver(sent) || (sent.sender_is_joined && sent.sender_is_registered)) return;
  for (const message of messages) {
    if (message.sender_id !== sent.sender_id) continue;
    message.sender_is_registered = true;
    message.sender_is_joined = true;
  }
}
