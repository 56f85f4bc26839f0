import type { Db } from "../../shared/db/connection/open.ts";
import {
  changeRoom,
  findRoom,
  insertRoom,
  isRoomAsDesired,
  lockRoom,
  lockTimelines,
  type Room,
  type DesiredRoom,
} from "../../shared/db/rooms/rooms.ts";
import { StaleView, transact } from "../../shared/db/connection/transaction.ts";
import { AppError } from "../../shared/contract/errors.ts";
import type { RoomAddress } from "../../shared/contract/names.ts";
import { appendEntries } from "../../shared/timeline/append.ts";
import { roomChangedEntry } from "../../shared/timeline/own-entries.ts";
import { sideEffectsOnRoom, type SideEffects } from "./side-effects.ts";
import { areMembersAsDesired, setMembers, type DesiredMember } from "./set-members.ts";

/** `fields` of a room that is there; absent ones stay. `initial` when it has to be made. */
export type RoomPut = {
  initial: DesiredRoom;
  fields: Partial<DesiredRoom>;
  members: readonly DesiredMember[];
};

/** Makes or changes a room, adds and changes members, removes none. However often at once: one room. */
export async function putRoom(
  db: Db,
  tenantId: string,
  address: RoomAddress,
  wish: RoomPut,
): Promise<SideEffects> {
  const seen = await findRoom(db, tenantId, address);
  if (seen && isRoomAsDesired(seen, wish.fields) && (await areMembersAsDesired(db, seen, wish.members))) {
    return sideEffectsOnRoom({ tenantId, roomId: seen.id }, { room: false, members: false });
  }
  return transact(db, async (trx) => {
    const isMade =
      !(await findRoom(trx, tenantId, address)) && (await insertRoom(trx, tenantId, address, wish.initial));
    const room = await lockRoom(trx, tenantId, address);
    if (!room) throw new StaleView("the room went away while it was being changed");
    const changed = isMade ? {} : await changeLocked(trx, room, wish.fields);
    const isChanged = Object.keys(changed).length > 0;
    const members = await setMembers(trx, room, wish.members);
    const entries = [...(isChanged ? [roomChangedEntry(changed)] : []), ...members.entries];
    await appendEntries(trx, [{ roomId: room.id, entries }]);
    return sideEffectsOnRoom(
      { tenantId, roomId: room.id },
      { room: isMade || isChanged, members: members.isChanged },
    );
  });
}

/** Changes fields of a room. @throws AppError `not_found`. */
export function patchRoom(
  db: Db,
  tenantId: string,
  address: RoomAddress,
  fields: Partial<DesiredRoom>,
): Promise<SideEffects> {
  return transact(db, async (trx) => {
    const room = await lockRoom(trx, tenantId, address);
    if (!room) throw new AppError("not_found", "There is no such room.");
    const changed = await changeLocked(trx, room, fields);
    const isChanged = Object.keys(changed).length > 0;
    if (isChanged) await appendEntries(trx, [{ roomId: room.id, entries: [roomChangedEntry(changed)] }]);
    return sideEffectsOnRoom({ tenantId, roomId: room.id }, { room: isChanged, members: false });
  });
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
