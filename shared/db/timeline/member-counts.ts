import { execute, rowsOf, type Db } from "../connection/open.ts";

/** Makes the counts of rooms' members due after a delay; a count that is due already keeps its time. */
export async function markMemberCountsDue(
  trx: Db,
  { tenantId, roomIds, delayMs }: { tenantId: string; roomIds: readonly string[]; delayMs: number },
): Promise<void> {
  await execute(
    trx,
    `update room_timeline set count_due_at = coalesce(count_due_at, now() + :delayMs * interval '1 millisecond')
      where tenant_id = :tenantId and room_id = any(:roomIds)`,
    { tenantId, roomIds: [...roomIds], delayMs },
  );
}

/** Locks rooms whose count is due, `limit` at most. Waits for no lock, so the order of the rooms does not matter. */
export async function lockDueMemberCounts(trx: Db, limit: number): Promise<string[]> {
  const rows = await rowsOf<{ room_id: string }>(
    trx,
    "select room_id from room_timeline where count_due_at <= now() order by count_due_at limit ? for update skip locked",
    [limit],
  );
  return rows.map((row) => row.room_id);
}

export function readMemberCounts(
  trx: Db,
  roomIds: readonly string[],
): Promise<{ id: string; member_count: number }[]> {
  return rowsOf(trx, "select id, member_count from rooms where id = any(?) and deleted_at is null", [
    [...roomIds],
  ]);
}

export async function clearMemberCountsDue(trx: Db, roomIds: readonly string[]): Promise<void> {
  await execute(trx, "update room_timeline set count_due_at = null where room_id = any(?)", [[...roomIds]]);
}
