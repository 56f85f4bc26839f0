import {
  countLevels,
  findMembers,
  hasDeletedMember,
  lockMemberships,
  upsertMembers,
  type MemberRow,
  type MemberWish,
} from "../../shared/db/memberships/memberships.ts";
import { endBans, hasBanned } from "../../shared/db/bans/bans.ts";
import { makeMembersDue } from "../../shared/db/memberships/members-due.ts";
import { enqueueUserEvents } from "../../shared/db/users/user-event-outbox.ts";
import type { Db } from "../../shared/db/connection/open.ts";
import { lockTimelines, type Room } from "../../shared/db/rooms/rooms.ts";
import { ensureUsers, lockKnownUsers, type ExistingUser } from "../../shared/db/users/users.ts";
import type { TenantLimits } from "../../shared/db/tenants/tenants.ts";
import { AppError } from "../../shared/contract/errors.ts";
import { BIG_ROOM_MEMBERS } from "../../shared/contract/big-room.ts";
import { parseDirectSlug } from "../../shared/contract/names.ts";
import { maxRoles } from "../../shared/contract/role-limit.ts";
import { ROLES_WITH_LEVEL, type Role } from "../../shared/contract/roles.ts";
import type { NewEntry } from "../../shared/timeline/append.ts";
import { makeMemberCountsDue } from "../../shared/timeline/member-counts.ts";
import { memberCountEntry, memberEntry } from "../../shared/timeline/own-entries.ts";

/**
 * With `role` null a member keeps the present role, and a new one gets the role `member`. `place`: where the request names
 * the user, for errors. `mutedUntil`: absent, a mute stays as it is.
 */
export type DesiredMember = { user: string; role: Role | null; place: string; mutedUntil?: Date | null };
type UnknownUsers = TenantLimits["unknownUsers"];

/** How many were added and got another role, and the entries to append. A deferred member count has no entry yet. */
export type MembersChange = { isChanged: boolean; added: number; changed: number; entries: NewEntry[] };

const UNCHANGED: MembersChange = { isChanged: false, added: 0, changed: 0, entries: [] };

/** `by`: the id of the user who changes the members; null for the tenant's backend. */
type SetBy = { unknownUsers: UnknownUsers; by?: string | null };

/**
 * Adds people to a locked room or changes their roles and mutes. Unchanged members are left alone. Unknown users are created, or
 * refused. That the backend adds a person ends the person's ban. @throws AppError `not_found`, `conflict` also for a banned person whom a person adds, `too_many_roles`, `invalid` for unknown users that are refused.
 */
export async function setMembers(
  trx: Db,
  room: Room,
  desired: readonly DesiredMember[],
  { unknownUsers, by = null }: SetBy,
): Promise<MembersChange> {
  if (desired.length === 0) return UNCHANGED;
  await requireOwnPair(trx, room, desired);
  const users = await lockDesiredUsers(trx, room.tenant_id, desired, unknownUsers);
  const people = desired.flatMap(({ user, role, mutedUntil }): DesiredPerson[] => {
    const id = users.get(user)?.id;
    if (id === undefined) return [];
    return [{ userId: id, role, ...(mutedUntil === undefined ? {} : { mutedUntil }) }];
  });
  await lockTimelines(trx, room.tenant_id, [room.id]);
  const current = await lockMemberships(
    trx,
    room.tenant_id,
    room.id,
    people.map(({ userId }) => userId),
  );
  const changes = decideChanges(people, current);
  if (changes.length === 0) return UNCHANGED;
  const joined = changes.filter(({ type }) => type === "member.joined");
  await admitBanned(
    trx,
    room,
    joined.map(({ userId }) => userId),
    by,
  );
  await upsertMembers(trx, room.tenant_id, room.id, changes);
  const count = await makeMembersDue(trx, room.tenant_id, [room.id], joined.length);
  if (addsLevel(changes, current)) await requireFewLevels(trx, room);
  await enqueueUserEvents(
    trx,
    joined.map(({ userId }) => ({ tenantId: room.tenant_id, kind: "room.added", userId, roomId: room.id })),
  );
  const announcement = chooseAnnouncement(changes, count);
  if (announcement === "deferred count") await makeMemberCountsDue(trx, room.tenant_id, [room.id]);
  const added = joined.length;
  const entries = describeChanges(changes, { count, announcement, by });
  return { isChanged: true, added, changed: changes.length - added, entries };
}

/** Whether all of these people are members with that role. Takes no lock, so that a repeated request is cheap. */
export async function areMembersAsDesired(
  db: Db,
  room: Room,
  desired: readonly DesiredMember[],
): Promise<boolean> {
  if (desired.length === 0) return true;
  const names = desired.map(({ user }) => user);
  const members = await findMembers(db, room.tenant_id, room.id, names);
  const current = new Map(members.map((row) => [row.external_id, row]));
  return desired.every(({ user, role, mutedUntil }) => {
    const row = current.get(user);
    return row?.desired === "in" && isAsDesired(row, { role, mutedUntil });
  });
}

type DesiredPerson = { userId: string; role: Role | null; mutedUntil?: Date | null };
type MemberChange = MemberWish & { type: "member.joined" | "member.changed" };
type Present = Pick<MemberRow, "user_id" | "desired" | "role" | "silenced_until">;

function isAsDesired(
  { role, silenced_until: mutedUntil }: Pick<Present, "role" | "silenced_until">,
  wanted: { role: Role | null; mutedUntil?: Date | null | undefined },
): boolean {
  const isMutedSo = wanted.mutedUntil === undefined || wanted.mutedUntil?.getTime() === mutedUntil?.getTime();
  return isMutedSo && (wanted.role === null || wanted.role === role);
}

/** Ends the bans of people whom the backend adds. @throws AppError `conflict` where a person adds one who is banned. */
async function admitBanned(
  trx: Db,
  room: Room,
  userIds: readonly string[],
  by: string | null,
): Promise<void> {
  if (userIds.length === 0) return;
  if (by === null) await endBans(trx, room.id, userIds);
  else if (await hasBanned(trx, room.id, userIds))
    throw new AppError("conflict", "The person is banned from the room.");
}

/** The changes that make the present members the desired ones. */
function decideChanges(desired: readonly DesiredPerson[], current: readonly Present[]): MemberChange[] {
  const byUser = new Map(current.map((row) => [row.user_id, row]));
  return desired.flatMap(({ userId, ...wanted }): MemberChange[] => {
    const row = byUser.get(userId);
    // Who leaves and comes again is muted all the same.
    const mutedUntil = wanted.mutedUntil === undefined ? (row?.silenced_until ?? null) : wanted.mutedUntil;
    if (row?.desired !== "in")
      return [{ userId, role: wanted.role ?? "member", mutedUntil, type: "member.joined" }];
    if (isAsDesired(row, wanted)) return [];
    return [{ userId, role: wanted.role ?? row.role, mutedUntil, type: "member.changed" }];
  });
}

/** The entries of a change: one per member, the new member count, or a count that is appended later. */
type Announcement = "each" | "count" | "deferred count";

/** A big room announces a bulk change by its new count. People who join it one by one share one deferred count. */
function chooseAnnouncement(changes: readonly MemberChange[], memberCount: number): Announcement {
  if (memberCount <= BIG_ROOM_MEMBERS) return "each";
  if (changes.length > 1) return "count";
  return changes[0]?.type === "member.joined" ? "deferred count" : "each";
}

function describeChanges(
  changes: readonly MemberChange[],
  { count, announcement, by }: { count: number; announcement: Announcement; by: string | null },
): NewEntry[] {
  switch (announcement) {
    case "each":
      return changes.map(({ userId, type, ...member }) => memberEntry(type, userId, member, by));
    case "count":
      return [memberCountEntry(count)];
    case "deferred count":
      return [];
  }
}

/** The users who are to be members, by name, locked against a deletion. */
export async function lockDesiredUsers(
  trx: Db,
  tenantId: string,
  desired: readonly DesiredMember[],
  unknownUsers: UnknownUsers,
): Promise<Map<string, ExistingUser>> {
  const names = desired.map(({ user }) => user);
  if (unknownUsers === "create") return ensureUsers(trx, tenantId, names);
  const users = await lockKnownUsers(trx, tenantId, names);
  const errors = desired.flatMap(({ user, place }) =>
    users.has(user) ? [] : [{ path: place, message: `names a user who does not exist: ${user}` }],
  );
  if (errors.length > 0)
    throw new AppError("invalid", "Users who do not exist cannot be members.", { errors });
  return users;
}

/**
 * @throws AppError `conflict` for others than the two people of a direct room; `not_found` for one that a deleted user was in,
 *   see `putRoom`.
 */
async function requireOwnPair(trx: Db, room: Room, desired: readonly DesiredMember[]): Promise<void> {
  if (room.kind !== "direct") return;
  if (await hasDeletedMember(trx, room.tenant_id, room.id))
    throw new AppError("not_found", "There is no such room.");
  const pair = parseDirectSlug(room.slug);
  if (desired.some(({ user }) => !pair.includes(user))) {
    throw new AppError("conflict", "A direct room has exactly its two members.");
  }
}

/** Whether a change gives a level to somebody who has none: a role above member, or a mute. */
function addsLevel(changes: readonly MemberChange[], current: readonly Present[]): boolean {
  const hasLevel = (role: Role, mutedUntil: Date | null) =>
    mutedUntil !== null || ROLES_WITH_LEVEL.includes(role);
  const before = new Set(
    current.flatMap(({ user_id: id, desired, role, silenced_until: until }) =>
      desired === "in" && hasLevel(role, until) ? [id] : [],
    ),
  );
  return changes.some(
    ({ userId, role, mutedUntil = null }) => hasLevel(role, mutedUntil) && !before.has(userId),
  );
}

/** @throws AppError `too_many_roles` when one event of Matrix cannot name all members with a role. */
async function requireFewLevels(trx: Db, room: Room): Promise<void> {
  const { count, serverName } = await countLevels(trx, room.tenant_id, room.id);
  const most = maxRoles(serverName);
  if (count > most) {
    throw new AppError(
      "too_many_roles",
      `On this homeserver a room has at most ${most} members who are muted or have a role above member.`,
    );
  }
}
