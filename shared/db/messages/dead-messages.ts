import { execute, rowsOf, type Db } from "../connection/open.ts";
import { HOLDS_ROOM_LEASE } from "../lease.ts";
import type { TimelinePosition } from "../timeline/pages.ts";

/**
 * A dead message is never sent; its sender reads why. This file holds every statement that marks messages dead:
 * - `markDead`: the drain of a room, when `workers/outbound/retry.ts` decides so or the sender is no member any more.
 * - `markDeadOfRemovedSender`: the api, when it removes a member or a user.
 * - `markDeadOfDeletedRooms`: the api, when it deletes a room, or a user with direct rooms.
 * - `markDeadAsRedacted`: the filling of a gap, when the event was redacted on Matrix before it came into the timeline.
 *
 * A dead message becomes `sent` only when its event comes from Matrix after all: it was sent, and the answer was lost.
 */
export const DEAD_REASONS = {
  expired: "The message could not be sent for too long.",
  forbidden: "The chat server does not let the sender write to this room.",
  redacted: "The message was taken back on the chat server before anybody was shown it.",
  refused: "The chat server does not accept this message.",
  room_deleted: "The room was deleted before the message was sent.",
  room_gone: "The room does not exist on the chat server any more.",
  sender_removed: "The sender was removed from the room before the message was sent.",
} as const;

/** Why a message is dead: the `code` of its error. */
export type DeadCode = keyof typeof DEAD_REASONS;

/** Marks those messages dead that `which` selects; bind `causeOf`. */
const markDeadWhere = (which: string) => `
  update messages set status = 'dead', open = false, error_code = :code, error_message = :reason where ${which}`;

function causeOf(code: DeadCode): { code: DeadCode; reason: string } {
  return { code, reason: DEAD_REASONS[code] };
}

const SELECT_POSITION = `
  select t.epoch, t.last_number as "lastNumber" from dead join room_timeline t using (room_id)`;

const MARK_UNDER_LEASE = `
  with dead as (${markDeadWhere(`id = :id and open and exists (select 1 from room_outbox where ${HOLDS_ROOM_LEASE})`)}
  returning room_id) ${SELECT_POSITION}`;

/**
 * Marks one message dead under its room's lease. Returns the position of the room's timeline; null when the lease has
 * ended: then nothing is changed.
 */
export async function markDead(
  db: Db,
  roomId: string,
  fence: string,
  message: { id: string; code: DeadCode },
): Promise<TimelinePosition | null> {
  const bindings = { roomId, fence, id: message.id, ...causeOf(message.code) };
  const rows = await rowsOf<TimelinePosition>(db, MARK_UNDER_LEASE, bindings);
  return rows[0] ?? null;
}

const MARK_OF_SENDER = `
  ${markDeadWhere(`id in (
     select m.id from unnest(cast(:roomIds as uuid[])) as asked(room_id) join messages m using (room_id)
      where m.tenant_id = :tenantId and m.sender_id = :senderId and m.open and m.status = 'queued'
      order by m.room_id, m.order_number for update of m)`)}
  returning id, room_id`;

/**
 * Marks the queued messages of a user dead, in the transaction that removes the user from these rooms. One statement for
 * all rooms, since they are locked meanwhile. Returns the messages.
 */
export function markDeadOfRemovedSender(
  trx: Db,
  tenantId: string,
  { senderId, roomIds }: { senderId: string; roomIds: readonly string[] },
): Promise<{ id: string; room_id: string }[]> {
  return rowsOf<{ id: string; room_id: string }>(trx, MARK_OF_SENDER, {
    tenantId,
    senderId,
    roomIds,
    ...causeOf("sender_removed"),
  });
}

const MARK_OF_ROOMS = markDeadWhere(
  "tenant_id = :tenantId and room_id = any(:roomIds) and open and status <> 'sent'",
);

// Only what is sent: a message that another transaction accepted or requeued since the statement above must stay open, so
// that its drain marks it dead.
const CLOSE_SENT = `
  update messages set open = false where tenant_id = :tenantId and room_id = any(:roomIds) and open and status = 'sent'`;

/**
 * Marks the unsent messages of rooms dead, in the transaction that deletes the rooms. What is sent stays so, and is not
 * open any more: the observer does not read it.
 */
export async function markDeadOfDeletedRooms(
  trx: Db,
  tenantId: string,
  roomIds: readonly string[],
): Promise<void> {
  await execute(trx, MARK_OF_ROOMS, { tenantId, roomIds, ...causeOf("room_deleted") });
  await execute(trx, CLOSE_SENT, { tenantId, roomIds });
}

const MARK_REDACTED = `
  with dead as (${markDeadWhere("id = :id and event_id = :eventId and open and status = 'sent'")}
  returning room_id) ${SELECT_POSITION}`;

/** Marks a sent message dead whose event is redacted. Returns the position of its room's timeline; null when it is not as given. */
export async function markDeadAsRedacted(
  db: Db,
  message: { id: string; eventId: string },
): Promise<TimelinePosition | null> {
  const rows = await rowsOf<TimelinePosition>(db, MARK_REDACTED, { ...message, ...causeOf("redacted") });
  return rows[0] ?? null;
}
