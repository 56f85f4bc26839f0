import { execute, rowsOf, type Db } from "../db/connection/open.ts";
import { appendEntries } from "./append.ts";
import { memberCountEntry } from "./own-entries.ts";

/** People who come one by one into a big room are told as one count, this long after the first of them. */
const TOLD_AFTER = "3 seconds";

/** Has the count of a room's members told, in the transaction that changes it: it stays due until it is. */
export async function makeMemberCountDue(trx: Db, tenantId: string, roomId: string): Promise<void> {
  await execute(
    trx,
    `update room_timeline set count_due_at = coalesce(count_due_at, now() + interval '${TOLD_AFTER}')
      where tenant_id = ? and room_id = ?`,
    [tenantId, roomId],
  );
}

/**
 * Appends the counts that are due, of `limit` rooms at most, for the caller to publish. Several may run at once: each
 * takes other rooms. Returns the rooms.
 */
export function appendDueMemberCounts(db: Db, limit: number): Promise<string[]> {
  return db.transaction(async (trx) => {
    // Waits for nobody, so that the order in which rooms are locked does not matter.
    const due = await rowsOf<{ room_id: string }>(
      trx,
      "select room_id from room_timeline where count_due_at <= now() order by count_due_at limit ? for update skip locked",
      [limit],
    );
    if (due.length === 0) return [];
    const roomIds = due.map((row) => row.room_id);
    // After the locks: whoever has not committed a change of a count by now waits for them, and makes it due again.
    const rooms = await rowsOf<{ id: string; member_count: number }>(
      trx,
      "select id, member_count from rooms where id = any(?) and deleted_at is null",
      [roomIds],
    );
    await execute(trx, "update room_timeline set count_due_at = null where room_id = any(?)", [roomIds]);
    await appendEntries(
      trx,
      rooms.map(({ id, member_count }) => ({ roomId: id, entries: [memberCountEntry(member_count)] })),
    );
    return rooms.map(({ id }) => id);
  });
}
