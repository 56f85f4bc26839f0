import type { Db } from "../../shared/db/connection/open.ts";
import { hasDeletedMember } from "../../shared/db/memberships/memberships.ts";
import {
  changeRoom,
  findRoom,
  insertRoom,
  isRoomAsDesired,
  lockRoom,
  lockTimelines,
  type Room,
} from "../../shared/db/rooms/rooms.ts";
import type { DesiredRoom } from "../../shared/db/rooms/many/desired-room.ts";
import { StaleView, transact } from "../../shared/db/connection/transaction.ts";
import { AppError } from "../../shared/contract/errors.ts";
import type { RoomAddress } from "../../shared/contract/names.ts";
import { applyBlocks } from "../../shared/db/blocks/blocks.ts";
import { renameRooms } from "../../shared/db/rooms/names/rename-rooms.ts";
import { appendEntries } from "../../shared/timeline/append.ts";
import { roomChangedEntry } from "../../shared/timeline/own-entries.ts";
import { membersChanged, roomChanged, type SideEffect } from "../after-commit/side-effects.ts";
import { findActor, nameOf, requirePermission, type Changer } from "./rights/actor.ts";
import { endRooms } from "./end-rooms.ts";
import type { MembersPut } from "./put-members.ts";
import { areMembersAsDesired, setMembers } from "./set-members.ts";

/** `fields`: what changes in a room that exists; absent ones stay. `initial`: the room that is made if there is none. */
export type RoomPut = MembersPut & { initial: DesiredRoom; fields: Partial<DesiredRoom> };

/** Makes or changes a room, and adds and changes members. Removes no member. Simultaneous calls make one room. */
export async function putRoom(
  db: Db,
  tenantId: string,
  address: RoomAddress,
  put: RoomPut,
): Promise<SideEffect[]> {
  const seen = await findRoom(db, tenantId, address);
  if (seen && isRoomAsDesired(seen, put.fields) && (await areMembersAsDesired(db, seen, put.members)))
    return [];
  return transact(db, async (trx) => {
    const ended = await endRoomOfDeletedUser(trx, tenantId, address);
    const isMade =
      !(await findRoom(trx, tenantId, address)) && (await insertRoom(trx, tenantId, address, put.initial));
    const room = await lockRoom(trx, tenantId, address);
    if (!room) throw new StaleView("the room was deleted while it was being changed");
    const changed = isMade ? {} : await changeLocked(trx, room, put.fields);
    const isChanged = Object.keys(changed).length > 0;
    const members = await setMembers(trx, room, put.members, { unknownUsers: put.unknownUsers });
    if (isMade && room.kind === "direct") await applyBlocks(trx, tenantId, room.id);
    const entries = [...(isChanged ? [roomChangedEntry(changed)] : []), ...members.entries];
    await appendEntries(trx, [{ roomId: room.id, entries }]);
    const target = { tenantId, roomId: room.id };
    return [
      ...ended,
      ...(isMade || isChanged ? roomChanged(target) : []),
      ...(members.isChanged ? membersChanged(target) : []),
    ];
  });
}

/**
 * Deletes a direct room that a deleted user was in: the next user of the name must not read it. The deletion of the user does
 * so, but not that of version 0.1.0, whose processes may run on this schema.
 */
async function endRoomOfDeletedUser(trx: Db, tenantId: string, address: RoomAddress): Promise<SideEffect[]> {
  if (address.kind !== "direct") return [];
  const room = await lockRoom(trx, tenantId, address);
  if (!room || !(await hasDeletedMember(trx, tenantId, room.id))) return [];
  await lockTimelines(trx, tenantId, [room.id]);
  return endRooms(trx, tenantId, [room.id]);
}

/**
 * Changes fields of a room, and its slug.
 * @throws AppError `not_found`; `forbidden` for a person without the right; `conflict` for a slug that another room has.
 */
export function patchRoom(
  db: Db,
  tenantId: string,
  address: RoomAddress,
  { fields, slug, changer }: { fields: Partial<DesiredRoom>; slug: string; changer: Changer },
): Promise<SideEffect[]> {
  return transact(db, async (trx) => {
    const room = await lockRoom(trx, tenantId, address);
    if (!room) throw new AppError("not_found", "There is no such room.");
    requirePermission(await findActor(trx, changer, address), "describe");
    const renamed = await renameLocked(trx, room, slug);
    const changed = await changeLocked(trx, room, fields);
    const isChanged = Object.keys(changed).length > 0;
    const entries = isChanged ? [roomChangedEntry(changed, nameOf(changer))] : [];
    await appendEntries(trx, [{ roomId: room.id, entries }]);
    return [...renamed, ...(isChanged ? roomChanged({ tenantId, roomId: room.id }) : [])];
  });
}

/** Gives a locked room another slug. Matrix has no part in it: the room's alias stays. @throws AppError `conflict`. */
async function renameLocked(trx: Db, room: Room, slug: string): Promise<SideEffect[]> {
  if (slug === room.slug) return [];
  await lockTimelines(trx, room.tenant_id, [room.id]);
  const renamed = await renameRooms(trx, room.tenant_id, [{ roomId: room.id, kind: room.kind, slug }]);
  if (renamed.length === 0) throw new AppError("conflict", "Another room has this slug.");
  return [{ type: "publishTimeline", roomId: room.id }, { type: "publishUserEvents" }];
}

async function changeLocked(
  trx: Db,
  room: Room,
  fields: Partial<DesiredRoom>,
): Promise<Partial<DesiredRoom>> {
  if (isRoomAsDesired(room, fields)) return {};
  await lockTimelines(trx, room.tenant_id, [room.id]);
  return changeRoom(trx, room, fields);
}
