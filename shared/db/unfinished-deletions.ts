import { rowsOf, type Db } from "./connection/open.ts";

/** Whether a deleted room still has members, or messages that wait: its deletion was only marked. */
export async function isRoomDeletionUnfinished(db: Db, tenantId: string, roomId: string): Promise<boolean> {
  const rows = await rowsOf(
    db,
    `select 1 as found from rooms r
      where r.tenant_id = ? and r.id = ? and r.deleted_at is not null
        and (exists (select 1 from memberships s where s.room_id = r.id and s.desired = 'in')
          or exists (select 1 from messages m where m.room_id = r.id and m.open))`,
    [tenantId, roomId],
  );
  return rows.length > 0;
}

/** Whether a user is deleted. */
export async function isUserDeleted(db: Db, tenantId: string, userId: string): Promise<boolean> {
  const rows = await rowsOf(
    db,
    "select 1 as found from users where tenant_id = ? and id = ? and deleted_at is not null",
    [tenantId, userId],
  );
  return rows.length > 0;
}
