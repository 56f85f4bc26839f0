import { setTimeout as pause } from "node:timers/promises";
import { requeueMessages, type SentRow } from "../../shared/db/messages/missing-messages.ts";
import type { RoomSnapshot } from "../../shared/db/rooms/room-snapshot.ts";
import { lockTimeline } from "../../shared/db/timeline/append.ts";
import { timeOfId } from "../../shared/platform/ids.ts";
import { applySyncPlan } from "../inbound/apply-plan.ts";
import { publish, reportSeen } from "../inbound/publish-applied.ts";
import { planPruned } from "../inbound/sync-plan.ts";
import type { Requester } from "../matrix/http/client.ts";
import type { WorkerContext } from "../runtime/context.ts";
import { LeaseLost, withRoomLease, type RoomLease } from "../runtime/room-lease.ts";
import { findCreation, findMissing, unmetMessages, unseenMessages, type Candidates } from "./find-missing.ts";

/** More messages of one room are not sent again without an operator's word: `admin room resend`. */
const REQUEUED_AT_MOST = 1_000;
const REQUEUED_AT_ONCE = 500;
/** What is accepted after a rereading began is not met by it. The clocks of two machines may differ by as much. */
const CLOCK_DIFFERENCE_MS = 60_000;
/** Tries to get the lease of a room to which somebody else writes, before everything is looked up again. */
const LEASE_TRIES = 8;
const LEASE_PAUSE_MS = 250;

type MatrixRoom = RoomSnapshot & { matrix_room_id: string };

/** A rereading that has read its last page: `met` has the messages of that page, which are not marked yet. */
export type EndedRereading = { id: string; to: string; met: ReadonlySet<string> };

/**
 * Queues the messages again that the homeserver accepted and does not have any more, as after a restore from an older
 * backup: in their old order, under their old transaction ids. The caller has just read the whole room. Any message that is
 * sent and that the rereading has not met is looked up by its event, a seen one too: when the event is there, the message
 * stays as it is. Messages of a former Matrix room, and of one whose old events were purged, are looked up only if unseen.
 * - `busy`: somebody else writes to the room. The caller tries again soon.
 * - `too many`: more than 1,000 are missing. Nothing is queued, and an operator decides.
 */
export async function requeueMissing(
  context: WorkerContext,
  request: Requester,
  room: MatrixRoom,
  rereading: EndedRereading,
): Promise<"done" | "busy" | "too many"> {
  const candidates = await listCandidates(context, request, room, rereading);
  const { missing, redacted } = await findMissing(request, room.matrix_room_id, candidates, {
    limit: REQUEUED_AT_MOST,
    isMet: (messageId) => rereading.met.has(messageId),
  });
  await settleRedacted(context, room, redacted);
  if (missing.length > REQUEUED_AT_MOST) {
    context.log.error(
      { room: room.id, moreThan: REQUEUED_AT_MOST },
      "the homeserver does not have many messages any more that it accepted: an operator must have them sent again",
    );
    return "too many";
  }
  return missing.length === 0 || (await requeueUnderLease(context, room, missing)) ? "done" : "busy";
}

async function listCandidates(
  { db }: WorkerContext,
  request: Requester,
  room: MatrixRoom,
  { id, to }: EndedRereading,
): Promise<Candidates> {
  const createdAt = await findCreation(request, room.matrix_room_id, to);
  if (createdAt === null) return unseenMessages(db, room.id);
  return unmetMessages(db, room.id, {
    rereading: id,
    sentSince: createdAt,
    acceptedSince: null,
    acceptedUntil: new Date(timeOfId(id) + CLOCK_DIFFERENCE_MS),
  });
}

/**
 * Messages that were redacted on Matrix before an observer read them: they were sent, and are deleted here too. What became of an
 * act, the redaction says when it is read.
 */
async function settleRedacted(
  context: WorkerContext,
  room: RoomSnapshot,
  redacted: readonly SentRow[],
): Promise<void> {
  if (redacted.length === 0) return;
  const events = redacted.map((row) => ({ roomId: room.id, messageId: row.id, eventId: row.event_id }));
  const acts = new Set(redacted.filter((row) => row.is_act).map(({ id }) => id));
  const plan = planPruned(events);
  const applied = await applySyncPlan(context.db, {
    require: lockTimeline(room.id),
    plan: { ...plan, pruned: plan.pruned.filter((id) => !acts.has(id)) },
    also: [],
  });
  reportSeen(context, applied.settled);
  await publish(context, applied.appended);
}

/** Under the room's lease: a drain that is already past these messages would settle the room without them. */
async function requeueUnderLease(
  context: WorkerContext,
  room: RoomSnapshot,
  missing: readonly SentRow[],
): Promise<boolean> {
  const key = { tenantId: room.tenant_id, roomId: room.id };
  for (let attempt = 1; attempt <= LEASE_TRIES && !context.stopping.aborted; attempt++) {
    const requeued = await withRoomLease(context, key, (lease) => requeue(context, room.id, lease, missing));
    if (requeued !== null) return true;
    await pause(LEASE_PAUSE_MS);
  }
  return false;
}

/** Queues messages again under the room's lease, in parts, and publishes that. @throws LeaseLost */
export async function requeue(
  context: WorkerContext,
  roomId: string,
  lease: RoomLease,
  messages: readonly SentRow[],
): Promise<void> {
  for (let start = 0; start < messages.length; start += REQUEUED_AT_ONCE) {
    lease.check();
    const part = messages.slice(start, start + REQUEUED_AT_ONCE);
    const appended = await requeueMessages(context.db, roomId, lease.fence, part);
    if (appended === null) throw new LeaseLost();
    const requeued = appended.filter(({ type }) => type === "message.requeued").length;
    if (requeued === 0) continue;
    context.metrics.messagesRequeued.inc(requeued);
    context.log.error(
      { room: roomId, messages: requeued },
      "Matrix does not have messages any more that it accepted: they are sent again",
    );
    await publish(context, appended);
  }
}
