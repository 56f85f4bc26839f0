import { AppError } from "../../../shared/contract/errors.ts";
import type { RoomAddress } from "../../../shared/contract/names.ts";
import { endBans, insertBan } from "../../../shared/db/bans/bans.ts";
import type { Db } from "../../../shared/db/connection/open.ts";
import { transact } from "../../../shared/db/connection/transaction.ts";
import { findMember } from "../../../shared/db/memberships/memberships.ts";
import { makeMembersDue } from "../../../shared/db/memberships/members-due.ts";
import { lockRoom, type Room } from "../../../shared/db/rooms/rooms.ts";
import { findUser } from "../../../shared/db/users/users.ts";
import type { User } from "../../../shared/db/users/users.ts";
import { endMembership } from "../../../shared/timeline/ending/end-membership.ts";
import { membersChanged, type SideEffect } from "../../after-commit/side-effects.ts";
import { findActor, nameOf, requirePermission, type Changer } from "./actor.ts";

export type BanChange = { roomId: string; sideEffects: SideEffect[] };
type Target = { tenantId: string; address: RoomAddress; user: string };

/**
 * Bans a person from a room, and removes a member. One who is banned stays so.
 * @throws AppError `not_found` for a room or a person that there is not; `forbidden` without the right; `conflict` in a direct room.
 */
export function banPerson(
  db: Db,
  { tenantId, address, user }: Target,
  { changer, reason }: { changer: Changer; reason: string | null },
): Promise<BanChange> {
  return transact(db, async (trx) => {
    const room = await requireRoom(trx, tenantId, address);
    const actor = await findActor(trx, changer, address);
    requirePermission(actor, "ban");
    const person = await requireUser(trx, tenantId, user);
    const member = await findMember(trx, tenantId, room.id, user);
    const isMember = member?.desired === "in";
    if (isMember) requirePermission(actor, "ban", member.role);
    requireGroup(room);
    const place = { tenantId, roomId: room.id, userId: person.id };
    // In the order of all transactions: members before bans.
    if (isMember) await endMembership(trx, { ...place, by: nameOf(changer) });
    const isNew = await insertBan(trx, { ...place, byId: actor?.user_id ?? null, reason, isApplied: false });
    if (isNew && !isMember) await makeMembersDue(trx, tenantId, [room.id], 0);
    return { roomId: room.id, sideEffects: isNew || isMember ? membersChanged(place) : [] };
  });
}

/** Ends a ban: the person may be added again. @throws AppError as `banPerson` */
export function unbanPerson(
  db: Db,
  { tenantId, address, user }: Target,
  { changer }: { changer: Changer },
): Promise<BanChange> {
  return transact(db, async (trx) => {
    const room = await requireRoom(trx, tenantId, address);
    requirePermission(await findActor(trx, changer, address), "ban");
    const person = await requireUser(trx, tenantId, user);
    const ended = await endBans(trx, room.id, [person.id]);
    if (ended === 0) return { roomId: room.id, sideEffects: [] };
    await makeMembersDue(trx, tenantId, [room.id], 0);
    return { roomId: room.id, sideEffects: membersChanged({ tenantId, roomId: room.id }) };
  });
}

async function requireRoom(trx: Db, tenantId: string, address: RoomAddress): Promise<Room> {
  const room = await lockRoom(trx, tenantId, address);
  if (!room) throw new AppError("not_found", "There is no such room.");
  return room;
}

async function requireUser(trx: Db, tenantId: string, name: string): Promise<User> {
  const found = await findUser(trx, tenantId, name);
  if (!found) throw new AppError("not_found", "There is no such user.");
  return found;
}

function requireGroup({ kind }: Room): void {
  if (kind === "direct") throw new AppError("conflict", "A direct room has exactly its two members.");
}
