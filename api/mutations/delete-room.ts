import { endAllMemberships } from "../../shared/db/memberships/memberships.ts";
import { markDeadOfDeletedRoom } from "../../shared/db/messages/dead-messages.ts";
import { enqueueUserEvents } from "../../shared/db/users/user-event-outbox.ts";
import type { Db } from "../../shared/db/connection/open.ts";
import { lockRoom, lockTimelines, markRoomDeleted } from "../../shared/db/rooms/rooms.ts";
import { transact } from "../../shared/db/connection/transaction.ts";
import type { RoomAddress } from "../../shared/contract/names.ts";
import { sideEffectsOnRoom, type SideEffects } from "./side-effects.ts";

/** Deletes a room: everybody is out, what was queued is dead, the address is free. Nothing when there is none. */
export function deleteRoom(db: Db, tenantId: string, address: RoomAddress): Promise<SideEffects | null> {
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
    return sideEffectsOnRoom({ tenantId, roomId: room.id }, { room: true, members: false });
  });
}
