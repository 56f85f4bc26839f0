import type { Db } from "../../shared/db/connection/open.ts";
import { markRoomsDeleted } from "../../shared/db/rooms/rooms.ts";
import { emptyRooms } from "../../shared/timeline/ending/empty-rooms.ts";
import { roomChanged, type SideEffect } from "../after-commit/side-effects.ts";

/**
 * Deletes rooms whose outboxes and timelines are locked: their memberships end, their queued messages are dead, their
 * addresses are free. Returns the side effects.
 */
export async function endRooms(trx: Db, tenantId: string, roomIds: readonly string[]): Promise<SideEffect[]> {
  if (roomIds.length === 0) return [];
  await emptyRooms(trx, tenantId, roomIds);
  await markRoomsDeleted(trx, tenantId, roomIds);
  return [...roomIds.flatMap((roomId) => roomChanged({ tenantId, roomId })), { type: "publishUserEvents" }];
}
