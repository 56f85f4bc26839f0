import { z } from "zod";

/** Role of a member of a room, highest first; a guest reads only. */
export const role = z.enum(["owner", "admin", "moderator", "speaker", "member", "guest"]);
export type Role = z.infer<typeof role>;

/** Matrix power level of each role; the room's observer holds 100. A guest is never on Matrix. */
export const POWER_LEVEL = {
  owner: 90,
  admin: 75,
  moderator: 50,
  speaker: 25,
  member: 0,
  guest: 0,
} as const satisfies Record<Role, number>;

/** Roles whose level differs from a room's default: the power-level map names their members. */
export const ROLES_WITH_LEVEL: readonly Role[] = role.options.filter((name) => POWER_LEVEL[name] !== 0);
