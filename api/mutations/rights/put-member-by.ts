import { AppError } from "../../../shared/contract/errors.ts";
import type { RoomAddress } from "../../../shared/contract/names.ts";
import type { Db } from "../../../shared/db/connection/open.ts";
import { transact } from "../../../shared/db/connection/transaction.ts";
import { findMember, type MemberRow, type RoomAccess } from "../../../shared/db/memberships/memberships.ts";
import { lockRoom } from "../../../shared/db/rooms/rooms.ts";
import { appendEntries } from "../../../shared/timeline/append.ts";
import { membersChanged, type SideEffect } from "../../after-commit/side-effects.ts";
import type { UserCaller } from "../../auth/authenticate.ts";
import { setMembers, type DesiredMember } from "../set-members.ts";
import { findActor, requirePermission } from "./actor.ts";

/**
 * Adds a person to a room, gives another role, or mutes: by a person with the right to it. A person makes no users.
 * @throws AppError `forbidden` without the right, `conflict` for a banned person; and what `setMembers` throws.
 */
export function putMemberBy(
  db: Db,
  caller: UserCaller,
  address: RoomAddress,
  wanted: DesiredMember,
): Promise<{ roomId: string; sideEffects: SideEffect[] }> {
  const { tenantId } = caller;
  return transact(db, async (trx) => {
    const room = await lockRoom(trx, tenantId, address);
    if (!room) throw new AppError("not_found", "There is no such room.");
    const actor = await findActor(trx, caller, address);
    requireRights(actor, wanted, await findMember(trx, tenantId, room.id, wanted.user));
    const { isChanged, entries } = await setMembers(trx, room, [wanted], {
      unknownUsers: "refuse",
      by: caller.user,
    });
    await appendEntries(trx, [{ roomId: room.id, entries }]);
    return {
      roomId: room.id,
      sideEffects: isChanged ? membersChanged({ tenantId, roomId: room.id }) : [],
    };
  });
}

/** Each field needs its own permission; a request that changes nothing, the one to add people. @throws AppError `forbidden`. */
function requireRights(
  actor: RoomAccess | null,
  { role, mutedUntil }: DesiredMember,
  member: MemberRow | undefined,
): void {
  const present = member?.desired === "in" ? member.role : null;
  const isOtherRole = role !== null && role !== (present ?? "member");
  if (present === null || (!isOtherRole && mutedUntil === undefined)) requirePermission(actor, "add people");
  if (isOtherRole) {
    requirePermission(actor, "give roles", role);
    if (present !== null) requirePermission(actor, "give roles", present);
  }
  if (mutedUntil !== undefined) requirePermission(actor, "mute", role ?? present ?? "member");
  if (mutedUntil !== undefined && present !== null) requirePermission(actor, "mute", present);
}
