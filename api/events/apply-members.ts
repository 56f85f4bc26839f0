import { BIG_ROOM_MEMBERS } from "../../shared/contract/big-room.ts";
import { maxRoles } from "../../shared/contract/role-limit.ts";
import { endBansOf } from "../../shared/db/bans/bans.ts";
import type { Db } from "../../shared/db/connection/open.ts";
import {
  countLevelsOf,
  endMembershipsOf,
  lockMembershipsOf,
  upsertMemberships,
  type MemberState,
} from "../../shared/db/memberships/many/many-rooms.ts";
import { makeMembersDueEach } from "../../shared/db/memberships/members-due.ts";
import { markDeadOfRemoved } from "../../shared/db/messages/dead/dead-messages.ts";
import { enqueueUserEvents } from "../../shared/db/users/user-event-outbox.ts";
import type { NewEntry, RoomEntries } from "../../shared/timeline/append.ts";
import { makeMemberCountsDue } from "../../shared/timeline/member-counts.ts";
import { memberCountEntry, memberEntry } from "../../shared/timeline/own-entries.ts";
import {
  decideMembers,
  limitLevels,
  roomsWithNewLevels,
  type PlacedChange,
  type PlacedWish,
} from "./decide-members.ts";

/**
 * Makes memberships of many locked rooms as they are wanted, in a number of statements that does not depend on theirs. Returns the
 * entries to append to each room that changed.
 */
export async function applyMembers(
  trx: Db,
  tenantId: string,
  wishes: readonly PlacedWish[],
  rsvpRoles: ReadonlySet<string>,
): Promise<RoomEntries[]> {
  if (wishes.length === 0) return [];
  const states = await lockMembershipsOf(trx, tenantId, wishes);
  const decided = decideMembers(wishes, states, { rsvpRoles });
  const changes = await requireFewLevels(trx, tenantId, decided, states);
  if (changes.length === 0) return [];
  const left = changes.filter(({ type }) => type === "member.left");
  const joined = changes.filter(({ type }) => type === "member.joined");
  const kept = changes.filter(({ type }) => type !== "member.left");
  if (left.length > 0) {
    await endMembershipsOf(trx, tenantId, left);
    await markDeadOfRemoved(trx, tenantId, left);
  }
  // That the backend adds a person ends the person's ban.
  if (joined.length > 0) await endBansOf(trx, joined);
  if (kept.length > 0) await upsertMemberships(trx, tenantId, kept);
  const counts = await makeMembersDueEach(trx, tenantId, countAdded(changes));
  await enqueueUserEvents(trx, [
    ...left.map(({ roomId, userId }) => ({ tenantId, kind: "room.removed" as const, userId, roomId })),
    ...joined.map(({ roomId, userId }) => ({ tenantId, kind: "room.added" as const, userId, roomId })),
  ]);
  return announce(trx, tenantId, changes, counts);
}

async function requireFewLevels(
  trx: Db,
  tenantId: string,
  changes: readonly PlacedChange[],
  states: readonly MemberState[],
): Promise<readonly PlacedChange[]> {
  const roomIds = roomsWithNewLevels(changes);
  if (roomIds.length === 0) return changes;
  const { counts, serverName } = await countLevelsOf(trx, tenantId, roomIds);
  return limitLevels(changes, states, { counts, most: maxRoles(serverName) });
}

/** How many members each changed room has more. */
function countAdded(changes: readonly PlacedChange[]): Map<string, number> {
  const added = new Map<string, number>();
  for (const { roomId, type } of changes) {
    const count = type === "member.joined" ? 1 : type === "member.left" ? -1 : 0;
    added.set(roomId, (added.get(roomId) ?? 0) + count);
  }
  return added;
}

/** A big room announces several changes by its new count, and people who join it one by one by a deferred count. */
async function announce(
  trx: Db,
  tenantId: string,
  changes: readonly PlacedChange[],
  counts: ReadonlyMap<string, number>,
): Promise<RoomEntries[]> {
  const byRoom = new Map<string, PlacedChange[]>();
  for (const change of changes) byRoom.set(change.roomId, [...(byRoom.get(change.roomId) ?? []), change]);
  const deferred: string[] = [];
  const entries = [...byRoom].map(([roomId, list]): RoomEntries => {
    const count = counts.get(roomId) ?? 0;
    if (count <= BIG_ROOM_MEMBERS) return { roomId, entries: list.map(describe) };
    if (list.length > 1) return { roomId, entries: [memberCountEntry(count)] };
    if (list[0]?.type !== "member.joined") return { roomId, entries: list.map(describe) };
    deferred.push(roomId);
    return { roomId, entries: [] };
  });
  if (deferred.length > 0) await makeMemberCountsDue(trx, tenantId, deferred);
  return entries;
}

function describe({ type, userId, ...member }: PlacedChange): NewEntry {
  return memberEntry(type, userId, member);
}
