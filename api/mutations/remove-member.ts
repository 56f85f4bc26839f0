import { findMember, type MemberRow } from "../../shared/db/memberships/memberships.ts";
import type { Db } from "../../shared/db/connection/open.ts";
import { lockRoom } from "../../shared/db/rooms/rooms.ts";
import { transact } from "../../shared/db/connection/transaction.ts";
import { AppError } from "../../shared/contract/errors.ts";
import type { RoomAddress } from "../../shared/contract/names.ts";
import { endMembership } from "../../shared/timeline/ending/end-membership.ts";
import { findActor, nameOf, requirePermission, type Changer } from "./rights/actor.ts";
import { membersChanged, type SideEffect } from "../after-commit/side-effects.ts";

export type Removal = { roomId: string; member: MemberRow | undefined; sideEffects: SideEffect[] };

/**
 * Removes a user from a room. The user's queued messages there are dead. Nothing changes for a user who is not in the
 * room; `member` is undefined for one who never was. `changer`: a person who leaves, or who may remove the other.
 * @throws AppError `not_found` if there is no such room, `conflict` for a user who leaves a direct room, `forbidden` without the right.
 */
export function removeMember(
  db: Db,
  tenantId: string,
  address: RoomAddress,
  user: string,
  changer: Changer = "backend",
): Promise<Removal> {
  return transact(db, async (trx) => {
    const room = await lockRoom(trx, tenantId, address);
    if (!room) throw new AppError("not_found", "There is no such room.");
    const by = nameOf(changer);
    const member = await findMember(trx, tenantId, room.id, user);
    if (by !== user) {
      const actor = await findActor(trx, changer, address);
      requirePermission(actor, "remove", member?.desired === "in" ? member.role : null);
    }
    if (!member) return { roomId: room.id, member, sideEffects: [] };
    if (by !== null && room.kind === "direct")
      throw new AppError("conflict", "A direct room has exactly its two members.");
    const removed = { tenantId, roomId: room.id, userId: member.user_id, by };
    const ended = await endMembership(trx, removed);
    if (ended === null) return { roomId: room.id, member, sideEffects: [] };
    return { roomId: room.id, member, sideEffects: membersChanged({ tenantId, roomId: room.id }) };
  });
}
