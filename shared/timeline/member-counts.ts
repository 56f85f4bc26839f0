import type { Db } from "../db/connection/open.ts";
import {
  clearMemberCountsDue,
  lockDueMemberCounts,
  markMemberCountsDue,
  readMemberCounts,
} from "../db/timeline/member-counts.ts";
import { appendEntries } from "./append.ts";
import { memberCountEntry } from "./own-entries.ts";

/** Members who are added one by one to a big room become one entry with the count, this long after the first of them. */
const COUNT_DELAY_MS = 3_000;

/** Makes the rooms' counts of members due, in the transaction that changes them. They stay due until they are appended. */
export function makeMemberCountsDue(trx: Db, tenantId: string, roomIds: readonly string[]): Promise<void> {
  return markMemberCountsDue(trx, { tenantId, roomIds, delayMs: COUNT_DELAY_MS });
}

/**
 * Appends the counts that are due, of `limit` rooms at most; the caller publishes them. Several processes may run it at
 * once: each takes other rooms. Returns the rooms.
 */
export function appendDueMemberCounts(db: Db, limit: number): Promise<string[]> {
  return db.transaction(async (trx) => {
    const roomIds = await lockDueMemberCounts(trx, limit);
    if (roomIds.length === 0) return [];
    // After the locks: a transaction that has changed a count and not committed yet waits for them, and makes the count
    // due again.
    const rooms = await readMemberCounts(trx, roomIds);
    await clearMemberCountsDue(trx, roomIds);
    await appendEntries(
      trx,
      rooms.map(({ id, member_count }) => ({ roomId: id, entries: [memberCountEntry(member_count)] })),
    );
    return rooms.map(({ id }) => id);
  });
}
