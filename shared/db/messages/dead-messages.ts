import { rowsOf, type Db } from "../connection/open.ts";

/**
 * Ends the queued messages of somebody who was removed from rooms, in the transaction that removes them: in one
 * statement, since all these rooms are locked meanwhile. Returns them.
 */
export function markQueuedMessagesDead(
  trx: Db,
  tenantId: string,
  { senderId, roomIds }: { senderId: string; roomIds: readonly string[] },
): Promise<{ id: string; room_id: string }[]> {
  return rowsOf<{ id: string; room_id: string }>(
    trx,
    `update messages set status = 'dead', open = false, error_code = 'sender_removed',
            error_message = 'The sender was removed from the room before the message was sent.'
      where id in (select m.id from unnest(cast(? as uuid[])) as asked(room_id) join messages m using (room_id)
                    where m.tenant_id = ? and m.sender_id = ? and m.open and m.status = 'queued'
                    order by m.room_id, m.order_number for update of m)
      returning id, room_id`,
    [roomIds, tenantId, senderId],
  );
}

/** Ends all messages of a room, in the transaction that deletes it; nobody reads there what was sent last. */
export async function markRoomMessagesDead(trx: Db, tenantId: string, roomId: string): Promise<void> {
  await trx.raw(
    `update messages set open = false,
            status = case when status = 'sent' then status else 'dead' end,
            error_code = case when status = 'sent' then error_code else 'room_deleted' end,
            error_message = case when status = 'sent' then error_message else 'The room was deleted before the message was sent.' end
      where tenant_id = ? and room_id = ? and open`,
    [tenantId, roomId],
  );
}
