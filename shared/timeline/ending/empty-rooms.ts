import { endAllMemberships } from "../../db/memberships/memberships.ts";
import { markDeadOfDeletedRooms } from "../../db/messages/dead/dead-messages.ts";
import type { Db } from "../../db/connection/open.ts";
import { enqueueUserEvents } from "../../db/users/user-event-outbox.ts";

/**
 * Ends what is in rooms that are deleted in this transaction or before, whose outboxes and timelines are locked: memberships end,
 * queued messages are dead, and connections are to be unsubscribed. Publish the user events.
 */
export async function emptyRooms(trx: Db, tenantId: string, roomIds: readonly string[]): Promise<void> {
  const ended = await endAllMemberships(trx, tenantId, roomIds);
  await markDeadOfDeletedRooms(trx, tenantId, roomIds);
  await enqueueUserEvents(
    trx,
    ended.map(({ user_id, room_id }) => ({
      tenantId,
      kind: "room.removed",
      userId: user_id,
      roomId: room_id,
    })),
  );
}
