import { z } from "zod";
import { role, type Role } from "./roles.ts";

/** What a member of a room may do. `remove` is for members of a lower role: see `isAllowedOver`. */
export type Permission =
  | "read"
  | "post"
  | "edit own"
  | "react"
  | "type"
  | "send receipts"
  | "delete own"
  | "delete any"
  | "mention the room"
  | "remove";

/** Who may post in a room: `speakers` lets members react, but not write. */
const posting = z.enum(["everyone", "speakers"]);

/**
 * The roles that have each permission. Handlers ask `isAllowed`; statements take `rolesAllowed` as a parameter. Members
 * who may post are joined to the room on Matrix; the others are not.
 */
const PERMISSIONS = {
  read: ["owner", "admin", "moderator", "speaker", "member", "guest"],
  post: ["owner", "admin", "moderator", "speaker", "member"],
  "edit own": ["owner", "admin", "moderator", "speaker", "member"],
  react: ["owner", "admin", "moderator", "speaker", "member"],
  type: ["owner", "admin", "moderator", "speaker", "member"],
  "send receipts": ["owner", "admin", "moderator", "speaker", "member"],
  "delete own": ["owner", "admin", "moderator", "speaker", "member"],
  "delete any": ["owner", "admin", "moderator"],
  "mention the room": ["owner", "admin", "moderator"],
  remove: ["owner", "admin", "moderator"],
} as const satisfies Record<Permission, readonly Role[]>;

/** What members alone may not do where speakers post. */
const SPEAKERS_ALONE: readonly Permission[] = ["post", "edit own"];

/** Whether a role has a permission. */
export function isAllowed(name: Role, permission: Permission): boolean {
  return rolesAllowed(permission).includes(name);
}

/** Whether a role has a permission over a member of another role: that role must be lower. */
export function isAllowedOver(name: Role, permission: Permission, other: Role): boolean {
  return isAllowed(name, permission) && role.options.indexOf(name) < role.options.indexOf(other);
}

/** The roles that have a permission, highest first. */
export function rolesAllowed(permission: Permission): readonly Role[] {
  return PERMISSIONS[permission];
}

/** Who has a permission, as pairs of what `rooms.posting` and `memberships.role` say: a parameter of statements. */
export function standingsAllowed(permission: Permission | null): string[] {
  if (permission === null) return [];
  return posting.options.flatMap((setting) =>
    rolesAllowed(permission)
      .filter((name) => setting === "everyone" || name !== "member" || !SPEAKERS_ALONE.includes(permission))
      .map((name) => `${setting} ${name}`),
  );
}
