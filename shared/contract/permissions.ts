import { z } from "zod";
import type { RoomKind } from "./names.ts";
import { role, type Role } from "./roles.ts";

/** Who may write in a room: with `speakers`, members only react. */
export const posting = z.enum(["everyone", "speakers"]);
export type Posting = z.infer<typeof posting>;

/** What one permission needs. `roles`: highest first. */
type Holders = {
  roles: readonly Role[];
  /** Who has it where speakers alone post; absent: the same roles. */
  rolesAmongSpeakers?: readonly Role[];
  /** A muted member has it too, whatever the role. */
  whileMuted?: true;
  /** In a direct room one of whose two people blocks the other, both have it. */
  whileBlocked?: true;
};

const EVERYBODY = role.options;
const NOT_GUESTS = ["owner", "admin", "moderator", "speaker", "member"] as const;
const SPEAKERS = ["owner", "admin", "moderator", "speaker"] as const;
const MODERATORS = ["owner", "admin", "moderator"] as const;
const ADMINS = ["owner", "admin"] as const;

/**
 * Who may do what: the one table. Matrix has it as power levels, as far as it can: `workers/matrix/power-levels.ts`. Members who may
 * react are joined to the room there; the others are not.
 */
const PERMISSIONS = {
  read: { roles: EVERYBODY, whileMuted: true, whileBlocked: true },
  post: { roles: NOT_GUESTS, rolesAmongSpeakers: SPEAKERS },
  "edit own": { roles: NOT_GUESTS, rolesAmongSpeakers: SPEAKERS },
  react: { roles: NOT_GUESTS },
  type: { roles: NOT_GUESTS },
  "send receipts": { roles: NOT_GUESTS, whileMuted: true },
  "delete own": { roles: NOT_GUESTS, whileBlocked: true },
  "delete any": { roles: MODERATORS },
  "mention the room": { roles: MODERATORS },
  pin: { roles: MODERATORS },
  "add people": { roles: MODERATORS },
  mute: { roles: MODERATORS },
  remove: { roles: MODERATORS },
  ban: { roles: MODERATORS },
  describe: { roles: ADMINS },
  "give roles": { roles: ADMINS },
  "post without waiting": { roles: MODERATORS },
} as const satisfies Record<string, Holders>;

/** What a person may do in a room. `mute`, `remove`, `ban` and `give roles` concern lower roles alone: see `isAllowedOver`. */
export type Permission = keyof typeof PERMISSIONS;
export const permissions = Object.keys(PERMISSIONS) as Permission[];

/**
 * Where a member stands: `rooms.posting` and the role; `muted`; in a direct room, where both have a member's rights, `blocked`.
 * `shared/db/memberships/standing.ts` builds it in SQL.
 */
export type Standing = `${Posting} ${Role}` | "muted" | "blocked";

const standings: readonly Standing[] = [
  ...posting.options.flatMap((setting) => role.options.map((name): Standing => `${setting} ${name}`)),
  "muted",
  "blocked",
];

/** Whether somebody with this standing has a permission. */
export function isAllowed(standing: Standing, permission: Permission): boolean {
  const holders: Holders = PERMISSIONS[permission];
  if (standing === "muted") return holders.whileMuted === true;
  if (standing === "blocked") return holders.whileBlocked === true;
  const { setting, role: name } = readStanding(standing);
  const roles = setting === "speakers" ? (holders.rolesAmongSpeakers ?? holders.roles) : holders.roles;
  return roles.includes(name);
}

/** Whether somebody has a permission over a member of a role, or for that role: it must be below the own one. */
export function isAllowedOver(standing: Standing, permission: Permission, other: Role): boolean {
  if (standing === "muted" || standing === "blocked" || !isAllowed(standing, permission)) return false;
  const { role: own } = readStanding(standing);
  return role.options.indexOf(own) < role.options.indexOf(other);
}

function readStanding(standing: Exclude<Standing, "muted" | "blocked">): { setting: Posting; role: Role } {
  const [setting, name] = standing.split(" ");
  return { setting: posting.parse(setting), role: role.parse(name) };
}

/** The roles that have a permission where everybody posts, highest first: a parameter of statements. */
export function rolesAllowed(permission: Permission): readonly Role[] {
  return PERMISSIONS[permission].roles;
}

/** Whether members of a role are in the room on Matrix: those who may react, also while muted, and both people of a direct room. */
export function isOnMatrix(name: Role, { kind }: { kind: RoomKind }): boolean {
  return kind === "direct" || rolesAllowed("react").includes(name);
}

/** The standings that have a permission: a parameter of statements. Null: nobody has it. */
export function standingsAllowed(permission: Permission | null): Standing[] {
  return permission === null ? [] : standings.filter((standing) => isAllowed(standing, permission));
}
