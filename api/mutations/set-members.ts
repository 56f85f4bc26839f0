import {
  countLevels,
  findMembers,
  lockMemberships,
  upsertMembers,
  type MemberRow,
} from "../../shared/db/memberships/memberships.ts";
import { makeMembersDue } from "../../shared/db/memberships/members-due.ts";
import { enqueueUserEvents } from "../../shared/db/users/user-event-outbox.ts";
import type { Db } from "../../shared/db/connection/open.ts";
import { lockTimelines, type Room } from "../../shared/db/rooms/rooms.ts";
import { ensureUsers } from "../../shared/db/users/users.ts";
import { AppError } from "../../shared/contract/errors.ts";
import { parseDirectSlug } from "../../shared/contract/names.ts";
import type { Role } from "../../shared/contract/roles.ts";
import type { NewEntry } from "../../shared/timeline/append.ts";
import { makeMemberCountDue } from "../../shared/timeline/member-counts.ts";
import { memberCountEntry, memberEntry } from "../../shared/timeline/own-entries.ts";

export type DesiredMember = { user: string; role: Role };

/** Members with a power level of their own that a room may have: its power-level map must stay below Matrix's limit. */
const MAX_LEVELS = 1_000;
/** Members up to which a room tells of each person who comes. */
const BIG_ROOM_MEMBERS = 100;

/** Whether anything changed, and what the caller is to append of it: a count that is told later has no entry yet. */
export type MembersChange = { isChanged: boolean; entries: NewEntry[] };

/**
 * Wishes people into a locked room with a role each, making unknown people; who is in already with that role is left
 * alone.
 */
export async function setMembers(
  trx: Db,
  room: Room,
  wanted: readonly DesiredMember[],
): Promise<MembersChange> {
  if (wanted.length === 0) return { isChanged: false, entries: [] };
  requireOwnPair(room, wanted);
  const users = await ensureUsers(
    trx,
    room.tenant_id,
    wanted.map(({ user }) => user),
  );
  const people = wanted.flatMap(({ user, role }) => {
    const id = users.get(user)?.id;
    return id === undefined ? [] : [{ userId: id, role }];
  });
  await lockTimelines(trx, room.tenant_id, [room.id]);
  const current = await lockMemberships(
    trx,
    room.tenant_id,
    room.id,
    people.map(({ userId }) => userId),
  );
  const changes = decideChanges(people, current);
  if (changes.length === 0) return { isChanged: false, entries: [] };
  const joined = changes.filter(({ type }) => type === "member.joined");
  await upsertMembers(trx, room.tenant_id, room.id, changes);
  const count = await makeMembersDue(trx, room.tenant_id, [room.id], joined.length);
  await requireFewLevels(trx, room);
  await enqueueUserEvents(
    trx,
    joined.map(({ userId }) => ({ tenantId: room.tenant_id, kind: "room.added", userId, roomId: room.id })),
  );
  const told = howToTell(changes, count);
  if (told === "count later") await makeMemberCountDue(trx, room.tenant_id, room.id);
  return { isChanged: true, entries: describeChanges(changes, count, told) };
}

/** Whether all of these people are in already with that role: asked without a lock, so that a repeated wish costs little. */
export async function areMembersAsDesired(
  db: Db,
  room: Room,
  wanted: readonly DesiredMember[],
): Promise<boolean> {
  if (wanted.length === 0) return true;
  const names = wanted.map(({ user }) => user);
  const members = await findMembers(db, room.tenant_id, room.id, names);
  const current = new Map(members.map((row) => [row.external_id, row]));
  return wanted.every(({ user, role }) => {
    const row = current.get(user);
    return row?.desired === "in" && row.role === role;
  });
}

type MemberChange = { userId: string; role: Role; type: "member.joined" | "member.changed" };

/** What differs between the people wanted and those who are in. */
function decideChanges(
  wanted: readonly { userId: string; role: Role }[],
  current: readonly Pick<MemberRow, "user_id" | "desired" | "role">[],
): MemberChange[] {
  const byUser = new Map(current.map((row) => [row.user_id, row]));
  return wanted.flatMap(({ userId, role }): MemberChange[] => {
    const row = byUser.get(userId);
    if (row?.desired !== "in") return [{ userId, role, type: "member.joined" }];
    return row.role === role ? [] : [{ userId, role, type: "member.changed" }];
  });
}

type Telling = "each" | "count" | "count later";

/** In a big room a bulk change is told by the new count, and so are people who come one by one, together. */
function howToTell(changes: readonly MemberChange[], memberCount: number): Telling {
  if (memberCount <= BIG_ROOM_MEMBERS) return "each";
  if (changes.length > 1) return "count";
  return changes[0]?.type === "member.joined" ? "count later" : "each";
}

function describeChanges(changes: readonly MemberChange[], memberCount: number, told: Telling): NewEntry[] {
  switch (told) {
    case "each":
      return changes.map(({ userId, role, type }) => memberEntry(type, userId, role));
    case "count":
      return [memberCountEntry(memberCount)];
    case "count later":
      return [];
  }
}

/** A direct room has the two people that it is named after, and nobody else. */
function requireOwnPair(room: Room, wanted: readonly DesiredMember[]): void {
  if (room.kind !== "direct") return;
  const pair = parseDirectSlug(room.slug);
  if (wanted.some(({ user }) => !pair.includes(user))) {
    throw new AppError("conflict", "A direct room has exactly its two members.");
  }
}

async function requireFewLevels(trx: Db, room: Room): Promise<void> {
  if ((await countLevels(trx, room.tenant_id, room.id)) > MAX_LEVELS) {
    throw new AppError(
      "too_many_roles",
      `A room has at most ${MAX_LEVELS} members with a role above member.`,
    );
  }
}
