import type { Db } from "../../shared/db/connection/open.ts";
import { findRoom, lockRoom, type Room } from "../../shared/db/rooms/rooms.ts";
import type { TenantLimits } from "../../shared/db/tenants/tenants.ts";
import { transact } from "../../shared/db/connection/transaction.ts";
import { AppError } from "../../shared/contract/errors.ts";
import type { RoomAddress } from "../../shared/contract/names.ts";
import { appendEntries } from "../../shared/timeline/append.ts";
import { membersChanged, type SideEffect } from "../after-commit/side-effects.ts";
import { areMembersAsDesired, setMembers, type DesiredMember } from "./set-members.ts";

export type MembersPut = {
  members: readonly DesiredMember[];
  unknownUsers: TenantLimits["unknownUsers"];
};

/** Adds and changes members, all or none. @throws AppError `not_found`, and what `setMembers` throws. */
export async function putMembers(
  db: Db,
  tenantId: string,
  address: RoomAddress,
  { members, unknownUsers }: MembersPut,
): Promise<{ roomId: string; sideEffects: SideEffect[] }> {
  const seen = await findRoom(db, tenantId, address);
  if (seen && (await areMembersAsDesired(db, seen, members))) return describe(seen, false);
  return transact(db, async (trx) => {
    const room = await lockRoom(trx, tenantId, address);
    if (!room) throw new AppError("not_found", "There is no such room.");
    const { isChanged, entries } = await setMembers(trx, room, members, { unknownUsers });
    await appendEntries(trx, [{ roomId: room.id, entries }]);
    return describe(room, isChanged);
  });
}

function describe(
  { tenant_id: tenantId, id: roomId }: Room,
  isChanged: boolean,
): { roomId: string; sideEffects: SideEffect[] } {
  return { roomId, sideEffects: isChanged ? membersChanged({ tenantId, roomId }) : [] };
}
