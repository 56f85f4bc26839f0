import { rowsOf, type Db } from "../connection/open.ts";
import { HOLDS_ROOM_LEASE } from "../lease.ts";

/** A message that a homeserver accepted and no observer has read. */
export type UnseenMessage = { id: string; event_id: string; order_number: number };

/** The unseen messages of a room after an order number, oldest first. */
export function listUnseenMessages(
  db: Db,
  roomId: string,
  { afterOrder, limit }: { afterOrder: number; limit: number },
): Promise<UnseenMessage[]> {
  return rowsOf<UnseenMessage>(
    db,
    `select id, event_id, order_number from messages
      where room_id = ? and open and status = 'sent' and event_id is not null and order_number > ?
      order by order_number limit ?`,
    [roomId, afterOrder, limit],
  );
}

/**
 * Queues unseen messages again under their room's lease, and makes the room due. Returns the ids of those that were still
 * unseen; none when the lease has ended.
 */
export async function requeueMessages(
  db: Db,
  roomId: string,
  fence: string,
  messages: readonly UnseenMessage[],
): Promise<string[]> {
  const rows = await rowsOf<{ id: string }>(
    db,
    `with mine as (
       select room_id from room_outbox where ${HOLDS_ROOM_LEASE} for update
     ), again as (
       update messages m set status = 'queued', event_id = null, sent_at = null
         from unnest(cast(:ids as uuid[]), cast(:eventIds as text[])) as f(id, event_id), mine
        where m.id = f.id and m.open and m.status = 'sent' and m.event_id = f.event_id
       returning m.id
     ), due as (
       update room_outbox o set next_attempt_at = coalesce(o.next_attempt_at, now())
         from mine where o.room_id = mine.room_id and exists (select 1 from again)
     )
     select id from again`,
    {
      roomId,
      fence,
      ids: messages.map(({ id }) => id),
      eventIds: messages.map(({ event_id: eventId }) => eventId),
    },
  );
  return rows.map(({ id }) => id);
}
