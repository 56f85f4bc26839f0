import { endAllMemberships } from "../../shared/db/memberships/memberships.ts";
import { markDeadOfDeletedRooms } from "../../shared/db/messages/dead-messages.ts";
import { enqueueUserEvents } from "../../shared/db/users/user-event-outbox.ts";
import type { Db } from "../../shared/db/connection/open.ts";
import { markRoomsDeleted } from "../../shared/db/rooms/rooms.ts";
import { roomChanged, type SideEffect } from "../after-commit/side-effects.ts";

/**
 * Deletes rooms whose outboxes and timelines are locked: their memberships end, their queued messages are dead, their
 * addresses are free. Returns the side effects.
 */
export async function endRooms(trx: Db, tenantId: string, roomIds: readonly string[]): Promise<SideEffect[]> {
  if (roomIds.length === 0) return [];
  const ended = await endAllMemberships(trx, tenantId, roomIds);
  await markDeadOfDeletedRooms(trx, tenantId, roomIds);
  await markRoomsDeleted(trx, tenantId, roomIds);
  await enqueueUserEvents(
    trx,
    ended.map(({ user_id, room_id }) => ({
      tenantId,
      kind: "room.removed",
      userId: user_id,
      roomId: room_id,
    })),
  );
  return [...roomIds.flatMap((roomId) => roomChanged({ tenantId, roomId })), { type: "publishUserEvents" }];
}
