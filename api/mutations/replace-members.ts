import { BIG_ROOM_MEMBERS } from "../../shared/contract/big-room.ts";
import { AppError } from "../../shared/contract/errors.ts";
import { parseDirectSlug, type RoomAddress } from "../../shared/contract/names.ts";
import type { Db } from "../../shared/db/connection/open.ts";
import { transact } from "../../shared/db/connection/transaction.ts";
import { endOtherMemberships } from "../../shared/db/memberships/many/end-others.ts";
import { makeMembersDue } from "../../shared/db/memberships/members-due.ts";
import { markDeadOfRemovedSender } from "../../shared/db/messages/dead/dead-messages.ts";
import { lockRoom, lockTimelines, type Room } from "../../shared/db/rooms/rooms.ts";
import { enqueueUserEvents } from "../../shared/db/users/user-event-outbox.ts";
import { appendEntries, type NewEntry } from "../../shared/timeline/append.ts";
import { memberCountEntry, memberEntry } from "../../shared/timeline/own-entries.ts";
import { membersChanged, type SideEffect } from "../after-commit/side-effects.ts";
import type { MembersPut } from "./put-members.ts";
import { lockDesiredUsers, setMembers } from "./set-members.ts";

/** How many members a room has, and how many were added, got another role and were removed. */
export type Replacement = {
  members: number;
  added: number;
  changed: number;
  removed: number;
  sideEffects: SideEffect[];
};

/**
 * Makes exactly these people the members of a room, in one transaction and a number of statements that does not depend on
 * theirs. Queued messages of those who are removed are dead. @throws AppError `not_found`, and what `setMembers` throws.
 */
export function replaceMembers(
  db: Db,
  tenantId: string,
  address: RoomAddress,
  { members, unknownUsers }: MembersPut,
): Promise<Replacement> {
  return transact(db, async (trx) => {
    const room = await lockRoom(trx, tenantId, address);
    if (!room) throw new AppError("not_found", "There is no such room.");
    requireWholePair(room, members);
    // Users are locked before memberships, and places for those with a role are freed before others get one.
    const users = await lockDesiredUsers(trx, tenantId, members, unknownUsers);
    await lockTimelines(trx, tenantId, [room.id]);
    const removed = await endOthers(
      trx,
      room,
      [...users.values()].map(({ id }) => id),
    );
    const { added, changed, isChanged, entries } = await setMembers(trx, room, members, { unknownUsers });
    await appendEntries(trx, [{ roomId: room.id, entries: [...removed.entries, ...entries] }]);
    const place = { tenantId, roomId: room.id };
    return {
      ...{ members: members.length, added, changed, removed: removed.count },
      sideEffects: isChanged || removed.count > 0 ? membersChanged(place) : [],
    };
  });
}

/** @throws AppError `conflict`. */
function requireWholePair(room: Room, members: MembersPut["members"]): void {
  if (room.kind !== "direct") return;
  const pair = parseDirectSlug(room.slug);
  if (members.length !== pair.length || members.some(({ user }) => !pair.includes(user)))
    throw new AppError("conflict", "A direct room has exactly its two members.");
}

/** Removes all others from a locked room. Returns the entries that say so: in a big room one with the count. */
async function endOthers(
  trx: Db,
  { tenant_id: tenantId, id: roomId, member_count: before }: Room,
  keptUserIds: readonly string[],
): Promise<{ count: number; entries: NewEntry[] }> {
  const ended = await endOtherMemberships(trx, tenantId, roomId, keptUserIds);
  if (ended.length === 0) return { count: 0, entries: [] };
  const senderIds = ended.map((row) => row.user_id);
  await markDeadOfRemovedSender(trx, tenantId, { senderIds, roomIds: [roomId] });
  const count = await makeMembersDue(trx, tenantId, [roomId], -ended.length);
  await enqueueUserEvents(
    trx,
    senderIds.map((userId) => ({ tenantId, kind: "room.removed", userId, roomId })),
  );
  const isBig = before > BIG_ROOM_MEMBERS;
  const entries = isBig
    ? [memberCountEntry(count)]
    : ended.map((row) => memberEntry("member.left", row.user_id, { role: row.role }));
  return { count: ended.length, entries };
}
