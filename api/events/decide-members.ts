import { role as roles, ROLES_WITH_LEVEL, type Role } from "../../shared/contract/roles.ts";
import type { MemberPlace, MemberState } from "../../shared/db/memberships/many/many-rooms.ts";
import type { MemberWish } from "./plan.ts";

export type PlacedWish = MemberPlace & { wish: MemberWish };

/** A membership that changes. `role`: the new one, and of somebody who leaves the present one. A mute stays. */
export type PlacedChange = MemberPlace & {
  role: Role;
  mutedUntil?: Date | null;
  type: "member.joined" | "member.changed" | "member.left";
};

/** `rsvpRoles`: those that a status may stand for. A status lowers no other role. */
type Settings = { rsvpRoles: ReadonlySet<string> };

/** The changes that make memberships as they are wanted. Unchanged ones are left alone. */
export function decideMembers(
  wishes: readonly PlacedWish[],
  states: readonly MemberState[],
  settings: Settings,
): PlacedChange[] {
  const present = new Map(states.map((row) => [`${row.room_id} ${row.user_id}`, row]));
  return wishes.flatMap(({ roomId, userId, wish }) => {
    const change = decide(wish, present.get(`${roomId} ${userId}`), settings);
    return change ? [{ roomId, userId, ...change }] : [];
  });
}

function decide(
  wish: MemberWish,
  row: MemberState | undefined,
  { rsvpRoles }: Settings,
): Omit<PlacedChange, keyof MemberPlace> | null {
  const isIn = row?.desired === "in";
  if (wish.is === "out") return isIn ? { role: row.role, type: "member.left" } : null;
  if (!isIn) {
    // A moderator's ban holds against a person's own answer to an invitation.
    if (wish.isRsvp && row?.is_banned === true) return null;
    // Who leaves and comes again is muted all the same.
    return { role: wish.role ?? "member", mutedUntil: row?.silenced_until ?? null, type: "member.joined" };
  }
  if (wish.role === null || wish.role === row.role) return null;
  if (wish.isRsvp && isLower(wish.role, row.role) && !rsvpRoles.has(row.role)) return null;
  return { role: wish.role, type: "member.changed", mutedUntil: row.silenced_until };
}

function isLower(one: Role, other: Role): boolean {
  return roles.options.indexOf(one) > roles.options.indexOf(other);
}

/**
 * Leaves out what would give more members of a room a role with a power level than one event of Matrix can name: who joins
 * becomes a member, who is in keeps the role. `counts`: those who have one now, by room.
 */
export function limitLevels(
  changes: readonly PlacedChange[],
  states: readonly MemberState[],
  { counts, most }: { counts: ReadonlyMap<string, number>; most: number },
): PlacedChange[] {
  const had = new Set(
    states.flatMap((row) =>
      row.desired === "in" && hasLevel(row.role) ? [`${row.room_id} ${row.user_id}`] : [],
    ),
  );
  const used = new Map(counts);
  const add = (roomId: string, count: number) => used.set(roomId, (used.get(roomId) ?? 0) + count);
  for (const { roomId, userId, role, type } of changes)
    if (had.has(`${roomId} ${userId}`) && (type === "member.left" || !hasLevel(role))) add(roomId, -1);
  return changes.flatMap((change): PlacedChange[] => {
    const { roomId, userId, role, type } = change;
    if (type === "member.left" || !hasLevel(role) || had.has(`${roomId} ${userId}`)) return [change];
    if ((used.get(roomId) ?? 0) < most) {
      add(roomId, 1);
      return [change];
    }
    return type === "member.joined" ? [{ ...change, role: "member" }] : [];
  });
}

/** The rooms in which somebody gets a role with a power level. */
export function roomsWithNewLevels(changes: readonly PlacedChange[]): string[] {
  const named = changes.filter(({ type, role }) => type !== "member.left" && hasLevel(role));
  return [...new Set(named.map(({ roomId }) => roomId))];
}

function hasLevel(role: Role): boolean {
  return ROLES_WITH_LEVEL.includes(role);
}
