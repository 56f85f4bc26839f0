import { BIG_ROOM_MEMBERS } from "../contract/big-room.ts";
import type { Db } from "../db/connection/open.ts";
import { transact } from "../db/connection/transaction.ts";
import { lockTimelineRows } from "../db/timeline/append.ts";
import { findChangedProfiles, readRoles, takeChangedProfiles } from "../db/users/profile-changes.ts";
import { appendEntries, type RoomEntries } from "./append.ts";
import { memberEntry } from "./own-entries.ts";

/**
 * Appends `member.changed` for people whose name or avatar has changed, once to each of their rooms of at most 100 members, of
 * about `limit` rooms at most; the caller publishes them. Bigger rooms show the new name in their pages. Several processes may run it
 * at once: each change is taken once. Returns the rooms.
 */
export async function announceProfiles(db: Db, limit: number): Promise<string[]> {
  const found = await findChangedProfiles(db, { limit, maxMembers: BIG_ROOM_MEMBERS });
  if (found.length === 0) return [];
  const pairs = found.flatMap(({ user_id: userId, room_ids: ids }) =>
    ids.map((roomId) => ({ userId, roomId })),
  );
  const roomIds = [...new Set(pairs.map(({ roomId }) => roomId))];
  return transact(db, async (trx) => {
    await lockTimelineRows(trx, roomIds);
    const taken = await takeChangedProfiles(trx, found);
    const members = await readRoles(
      trx,
      pairs.filter(({ userId }) => taken.has(userId)),
    );
    const rooms = members.map((member): RoomEntries => ({
      roomId: member.room_id,
      entries: [
        memberEntry("member.changed", member.user_id, { role: member.role, mutedUntil: member.muted_until }),
      ],
    }));
    await appendEntries(trx, rooms);
    return [...new Set(rooms.map(({ roomId }) => roomId))];
  });
}
