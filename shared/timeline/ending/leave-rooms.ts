import type { Db } from "../../db/connection/open.ts";
import { makeMembersDue } from "../../db/memberships/members-due.ts";
import { endMemberships } from "../../db/memberships/memberships.ts";
import { markDeadOfRemovedSender } from "../../db/messages/dead/dead-messages.ts";
import { appendEntries } from "../append.ts";
import { memberEntry } from "../own-entries.ts";

/** Removes a user from locked rooms, with an entry in each. The user's queued messages there are dead. */
export async function leaveRooms(
  trx: Db,
  tenantId: string,
  userId: string,
  roomIds: readonly string[],
): Promise<void> {
  if (roomIds.length === 0) return;
  const ended = await endMemberships(trx, tenantId, userId, roomIds);
  const roomsLeft = ended.map((row) => row.room_id);
  await markDeadOfRemovedSender(trx, tenantId, { senderIds: [userId], roomIds: roomsLeft });
  await makeMembersDue(trx, tenantId, roomsLeft, -1);
  await appendEntries(
    trx,
    ended.map((row) => ({
      roomId: row.room_id,
      entries: [memberEntry("member.left", userId, { role: row.role })],
    })),
  );
}
