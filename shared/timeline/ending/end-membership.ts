import type { Db } from "../../db/connection/open.ts";
import { makeMembersDue } from "../../db/memberships/members-due.ts";
import { endMemberships } from "../../db/memberships/memberships.ts";
import { markDeadOfRemovedSender } from "../../db/messages/dead/dead-messages.ts";
import { lockTimelines } from "../../db/rooms/rooms.ts";
import { enqueueUserEvents } from "../../db/users/user-event-outbox.ts";
import { appendEntries, type AppendedRow } from "../append.ts";
import { memberEntry } from "../own-entries.ts";

/**
 * Removes a user from a room whose outbox is locked. The user's queued messages there are dead, and the user's connections
 * are to be unsubscribed. `by`: who removed the user, null for the tenant's backend. Returns the entries, the removal as the
 * last; null when the user is no member.
 */
export async function endMembership(
  trx: Db,
  { tenantId, roomId, userId, by }: { tenantId: string; roomId: string; userId: string; by: string | null },
): Promise<AppendedRow[] | null> {
  await lockTimelines(trx, tenantId, [roomId]);
  const [ended] = await endMemberships(trx, tenantId, userId, [roomId]);
  if (!ended) return null;
  const dead = await markDeadOfRemovedSender(trx, tenantId, { senderIds: [userId], roomIds: [roomId] });
  await makeMembersDue(trx, tenantId, [roomId], -1);
  await enqueueUserEvents(trx, [{ tenantId, kind: "room.removed", userId, roomId }]);
  const left = await appendEntries(trx, [
    { roomId, entries: [memberEntry("member.left", userId, { role: ended.role }, by)] },
  ]);
  return [...dead, ...left];
}
