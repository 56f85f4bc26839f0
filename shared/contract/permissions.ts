import type { Role } from "./roles.ts";

/** What a member of a room may do. */
export type Permission = "read" | "post";

/**
 * The roles that have each permission. Handlers ask `isAllowed`; statements take `rolesAllowed` as a parameter. Members
 * who may post are joined to the room on Matrix; the others are not.
 */
const PERMISSIONS = {
  read: ["owner", "admin", "moderator", "speaker", "member", "guest"],
  post: ["owner", "admin", "moderator", "speaker", "member"],
} as const satisfies Record<Permission, readonly Role[]>;

/** Whether a role has a permission. */
export function isAllowed(name: Role, permission: Permission): boolean {
  return rolesAllowed(permission).includes(name);
}

/** The roles that have a permission, highest first. */
export function rolesAllowed(permission: Permission): readonly Role[] {
  return PERMISSIONS[permission];
}
