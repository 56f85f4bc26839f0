import {
  countLevels,
  findMembers,
  lockMemberships,
  touchMembers,
  upsertMembers,
  type MemberRow,
} from "../../shared/db/memberships.ts";
import { insertNotices } from "../../shared/db/notices.ts";
import type { Db } from "../../shared/db/open.ts";
import type { Room } from "../../shared/db/rooms.ts";
import { ensureUsers } from "../../shared/db/users.ts";
import { AppError } from "../../shared/errors.ts";
import { newId } from "../../shared/ids.ts";
import { parseDirectSlug, type Role } from "../../shared/names.ts";
import type { NewEntry } from "../../shared/timeline/append.ts";

export type MemberWish = { user: string; role: Role };

/** Members with a power level of their own that a room may have: its power-level map must stay below Matrix's limit. */
const MAX_LEVELS = 1_000;
/** Members up to which a bulk change tells of each person. */
const BIG_ROOM_MEMBERS = 100;

/**
 * Wishes people into a locked room with a role each, making unknown people; who is in already with that role is left
 * alone. Returns the entries for the caller to append: none when nothing changes.
 */
export async function wishMembers(trx: Db, room: Room, wanted: readonly MemberWish[]): Promise<NewEntry[]> {
  if (wanted.length === 0) return [];
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
  const current = await lockMemberships(
    trx,
    room.tenant_id,
    room.id,
    people.map(({ userId }) => userId),
  );
  const changes = decideChanges(people, current);
  if (changes.length === 0) return [];
  const joined = changes.filter(({ type }) => type === "member.joined");
  await upsertMembers(trx, room.tenant_id, room.id, changes);
  const count = await touchMembers(trx, room.tenant_id, [room.id], joined.length);
  await requireFewLevels(trx, room);
  await insertNotices(
    trx,
    joined.map(({ userId }) => ({ tenantId: room.tenant_id, kind: "room.added", userId, roomId: room.id })),
  );
  return describeChanges(changes, count);
}

/** Whether all of these people are in already with that role: asked without a lock, so that a repeated wish costs little. */
export async function areAsWished(db: Db, room: Room, wanted: readonly MemberWish[]): Promise<boolean> {
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

/** One entry each; in a big room a bulk change is one entry with the new count. */
function describeChanges(changes: readonly MemberChange[], memberCount: number): NewEntry[] {
  if (changes.length > 1 && memberCount > BIG_ROOM_MEMBERS) {
    return [roomChangedEntry({ members: String(memberCount) })];
  }
  return changes.map(({ userId, role, type }) => memberEntry(type, userId, role));
}

/** An entry about a member, caused by the tenant's backend. */
export function memberEntry(
  type: "member.joined" | "member.changed" | "member.left",
  userId: string,
  role: Role,
): NewEntry {
  return { ...ownEntry(), type, senderId: userId, content: { role, by: null } };
}

/** An entry about the room itself; `changed` has the new values by name. */
export function roomChangedEntry(changed: Record<string, string | null>): NewEntry {
  return { ...ownEntry(), type: "room.changed", senderId: null, content: { changed } };
}

function ownEntry(): Omit<NewEntry, "type" | "senderId" | "content"> {
  return { entryId: newId(), eventId: null, senderName: null, clientId: null, at: null };
}

/** A direct room has the two people that it is named after, and nobody else. */
function requireOwnPair(room: Room, wanted: readonly MemberWish[]): void {
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
