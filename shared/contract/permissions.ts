import type { Role } from "./names.ts";

/** Matrix power level of each role; the room's observer holds 100. A guest is never on Matrix. */
export const POWER_LEVEL = {
  owner: 90,
  admin: 75,
  moderator: 50,
  speaker: 25,
  member: 0,
  guest: 0,
} as const satisfies Record<Role, number>;

/** Whether a role may post. */
export function mayPost(role: Role): boolean {
  return role !== "guest";
}
