import { deleteBlocksOf } from "../../shared/db/blocks/blocks.ts";
import { listRoomsOf } from "../../shared/db/memberships/memberships.ts";
import { enqueueUserEvents } from "../../shared/db/users/user-event-outbox.ts";
import type { Db } from "../../shared/db/connection/open.ts";
import { lockOutboxes, lockTimelines } from "../../shared/db/rooms/rooms.ts";
import { StaleView, transact } from "../../shared/db/connection/transaction.ts";
import { findDeletedUser, startErasure } from "../../shared/db/users/erasures.ts";
import { findUser, lockUser, markUserDeleted } from "../../shared/db/users/users.ts";
import { leaveRooms } from "../../shared/timeline/ending/leave-rooms.ts";
import { membersChanged, type SideEffect } from "../after-commit/side-effects.ts";
import { endRooms } from "./end-rooms.ts";

/**
 * Removes a user from all rooms and deletes the user, in one transaction. The user's direct rooms are deleted: made again,
 * with the next user of the name, each is a new generation without a history. `erases`: what the user wrote is emptied in the background;
 * of a name that no user has, what the last one wrote. Null if there is no such user.
 */
export function deleteUser(
  db: Db,
  tenantId: string,
  name: string,
  { erases = false } = {},
): Promise<SideEffect[] | null> {
  return transact(db, async (trx) => {
    const deleted = await markDeleted(trx, tenantId, name);
    const userId = deleted?.userId ?? (erases ? await findDeletedUser(trx, tenantId, name) : undefined);
    if (!erases || userId === undefined) return deleted?.effects ?? null;
    await startErasure(trx, tenantId, userId);
    return [...(deleted?.effects ?? []), { type: "wakeJob", name: "erasure", payload: { tenantId, userId } }];
  });
}

async function markDeleted(
  trx: Db,
  tenantId: string,
  name: string,
): Promise<{ userId: string; effects: SideEffect[] } | null> {
  const seen = await findUser(trx, tenantId, name);
  if (!seen) return null;
  const locked = new Set(idsOf(await listRoomsOf(trx, tenantId, seen.id)));
  await lockOutboxes(trx, tenantId, [...locked]);
  await lockTimelines(trx, tenantId, [...locked]);
  if (!(await lockUser(trx, tenantId, seen.id))) return null;
  const rooms = await listRoomsOf(trx, tenantId, seen.id);
  if (rooms.some(({ room_id: roomId }) => !locked.has(roomId)))
    throw new StaleView("the user was added to another room");
  const roomIds = idsOf(rooms.filter(({ kind }) => kind !== "direct"));
  await leaveRooms(trx, tenantId, seen.id, roomIds);
  const ended = await endRooms(trx, tenantId, idsOf(rooms.filter(({ kind }) => kind === "direct")));
  await deleteBlocksOf(trx, [seen.id]);
  await markUserDeleted(trx, tenantId, seen.id);
  await enqueueUserEvents(trx, [{ tenantId, kind: "user.gone", userId: seen.id, roomId: null }]);
  const effects: SideEffect[] = [
    { type: "wakeJob", name: "provisioning", payload: { tenantId, subject: "user", id: seen.id } },
    ...roomIds.flatMap((roomId) => membersChanged({ tenantId, roomId })),
    { type: "publishUserEvents" },
    ...ended,
  ];
  return { userId: seen.id, effects };
}

function idsOf(rooms: readonly { room_id: string }[]): string[] {
  return rooms.map(({ room_id: roomId }) => roomId);
}
