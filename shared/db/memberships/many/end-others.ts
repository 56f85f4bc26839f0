import type { Role } from "../../../contract/roles.ts";
import { rowsOf, type Db } from "../../connection/open.ts";

/** Ends the memberships of a locked room, but those of some users. Returns whose ended, with the role of each. */
export function endOtherMemberships(
  trx: Db,
  tenantId: string,
  roomId: string,
  keptUserIds: readonly string[],
): Promise<{ user_id: string; role: Role }[]> {
  return rowsOf<{ user_id: string; role: Role }>(
    trx,
    `update memberships s set desired = 'out', version = version + 1, error = null, updated_at = now()
      where s.tenant_id = :tenantId and s.room_id = :roomId and s.desired = 'in'
        and not exists (select 1 from unnest(cast(:keptUserIds as uuid[])) as k(user_id) where k.user_id = s.user_id)
      returning s.user_id, s.role`,
    { tenantId, roomId, keptUserIds: [...keptUserIds] },
  );
}
