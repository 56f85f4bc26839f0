import type { Db } from "../../shared/db/connection/open.ts";
import { lockRoom, lockTimelines } from "../../shared/db/rooms/rooms.ts";
import { transact } from "../../shared/db/connection/transaction.ts";
import type { RoomAddress } from "../../shared/contract/names.ts";
import type { SideEffect } from "../after-commit/side-effects.ts";
import { endRooms } from "./end-rooms.ts";

/** Deletes a room: its memberships end, its queued messages are dead, its address is free. Null if there is no such room. */
export function deleteRoom(db: Db, tenantId: string, address: RoomAddress): Promise<SideEffect[] | null> {
  return transact(db, async (trx) => {
    const room = await lockRoom(trx, tenantId, address);
    if (!room) return null;
    await lockTimelines(trx, tenantId, [room.id]);
    return endRooms(trx, tenantId, [room.id]);
  });
}
