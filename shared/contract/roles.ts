import { z } from "zod";

/** A member's role in a room, highest first. A guest only reads. */
export const role = z.enum(["owner", "admin", "moderator", "speaker", "member", "guest"]);
export type Role = z.infer<typeof role>;

/** The Matrix power level of each role; the room's observer has 100. A guest is never in the room on Matrix. */
export const POWER_LEVEL = {
  owner: 90,
  admin: 75,
  moderator: 50,
  speaker: 25,
  member: 0,
  guest: 0,
} as const satisfies Record<Role, number>;

/** The Matrix power level of a muted member, whatever the role: below what any event needs. */
export const MUTED_LEVEL = -1;

/** The roles whose level is not a room's default: the power-level map names members with these roles. */
export const ROLES_WITH_LEVEL: readonly Role[] = role.options.filter((name) => POWER_LEVEL[name] !== 0);
