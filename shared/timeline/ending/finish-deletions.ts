import type { Db } from "../../db/connection/open.ts";
import { StaleView, transact } from "../../db/connection/transaction.ts";
import { listRoomsOf } from "../../db/memberships/memberships.ts";
import { lockOutboxes, lockTimelines, markRoomsDeleted } from "../../db/rooms/rooms.ts";
import { isRoomDeletionUnfinished, isUserDeleted } from "../../db/unfinished-deletions.ts";
import { emptyRooms } from "./empty-rooms.ts";
import { leaveRooms } from "./leave-rooms.ts";

/** Rooms that one transaction locks. */
const ROOMS_AT_ONCE = 50;

/** Ends what a room has whose deletion is only marked. Returns whether there was anything: publish the user events. */
export async function finishRoomDeletion(db: Db, tenantId: string, roomId: string): Promise<boolean> {
  if (!(await isRoomDeletionUnfinished(db, tenantId, roomId))) return false;
  await transact(db, async (trx) => {
    await lockOutboxes(trx, tenantId, [roomId]);
    await lockTimelines(trx, tenantId, [roomId]);
    await emptyRooms(trx, tenantId, [roomId]);
  });
  return true;
}

/** The rooms that a deleted user left, and those of them that are deleted with the user. */
export type LeftRooms = { left: string[]; deleted: string[] };

/**
 * Takes a user whose deletion is only marked out of the next 50 rooms; direct rooms are deleted. Null when there is none.
 * Publish the user events and the timelines, and wake the rooms' jobs.
 */
export async function leaveNextRooms(db: Db, tenantId: string, userId: string): Promise<LeftRooms | null> {
  if (!(await isUserDeleted(db, tenantId, userId))) return null;
  return transact(db, async (trx) => {
    const rooms = (await listRoomsOf(trx, tenantId, userId)).slice(0, ROOMS_AT_ONCE);
    if (rooms.length === 0) return null;
    const ids = rooms.map(({ room_id: id }) => id);
    await lockOutboxes(trx, tenantId, ids);
    await lockTimelines(trx, tenantId, ids);
    const present = new Set((await listRoomsOf(trx, tenantId, userId)).map(({ room_id: id }) => id));
    if (ids.some((id) => !present.has(id)))
      throw new StaleView("a deleted user's room was deleted meanwhile");
    const direct = rooms.flatMap(({ room_id: id, kind }) => (kind === "direct" ? [id] : []));
    const left = ids.filter((id) => !direct.includes(id));
    await leaveRooms(trx, tenantId, userId, left);
    if (direct.length > 0) {
      await emptyRooms(trx, tenantId, direct);
      await markRoomsDeleted(trx, tenantId, direct);
    }
    return { left, deleted: direct };
  });
}
