import { role, type Role } from "./roles.ts";

/** What a member of a room may do. `remove` is for members of a lower role: see `isAllowedOver`. */
export type Permission = "read" | "post" | "remove";

/**
 * The roles that have each permission. Handlers ask `isAllowed`; statements take `rolesAllowed` as a parameter. Members
 * who may post are joined to the room on Matrix; the others are not.
 */
const PERMISSIONS = {
  read: ["owner", "admin", "moderator", "speaker", "member", "guest"],
  post: ["owner", "admin", "moderator", "speaker", "member"],
  remove: ["owner", "admin", "moderator"],
} as const satisfies Record<Permission, readonly Role[]>;

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
