import { endAllMemberships } from "../../shared/db/memberships/memberships.ts";
import { markDeadOfDeletedRoom } from "../../shared/db/messages/dead-messages.ts";
import { enqueueUserEvents } from "../../shared/db/users/user-event-outbox.ts";
import type { Db } from "../../shared/db/connection/open.ts";
import { lockRoom, lockTimelines, markRoomDeleted } from "../../shared/db/rooms/rooms.ts";
import { transact } from "../../shared/db/connection/transaction.ts";
import type { RoomAddress } from "../../shared/contract/names.ts";
import { roomChanged, type SideEffect } from "../after-commit/side-effects.ts";

/** Deletes a room: its memberships end, its queued messages are dead, its address is free. Null if there is no such room. */
export function deleteRoom(db: Db, tenantId: string, address: RoomAddress): Promise<SideEffect[] | null> {
  return transact(db, async (trx) => {
    const room = await lockRoom(trx, tenantId, address);
    if (!room) return null;
    await lockTimelines(trx, tenantId, [room.id]);
    const userIds = await endAllMemberships(trx, tenantId, room.id);
    await markDeadOfDeletedRoom(trx, tenantId, room.id);
    await markRoomDeleted(trx, room);
    await enqueueUserEvents(
      trx,
      userIds.map((userId) => ({ tenantId, kind: "room.removed", userId, roomId: room.id })),
    );
    return [...roomChanged({ tenantId, roomId: room.id }), { type: "publishUserEvents" }];
  });
}
