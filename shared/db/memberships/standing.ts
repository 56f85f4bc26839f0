import { MUTED_LEVEL, POWER_LEVEL, ROLES_WITH_LEVEL } from "../../contract/roles.ts";
import { standingsAllowed, type Permission } from "../../contract/permissions.ts";

/**
 * The standing of the member of `s` (memberships) in the room `r` (rooms), as `Standing` in `shared/contract/permissions.ts`: an SQL
 * expression. It is null for one who is no member. Both rows must be those that the decision locks or reads.
 */
export const STANDING = standingOf("s", "r");

/** The same of other names of the two tables. */
export function standingOf(s: string, r: string): string {
  return `(case when ${s}.silenced_until > now() then 'muted' when ${r}.kind <> 'direct' then ${r}.posting || ' ' || ${s}.role
    when ${s}.role is null then null when ${r}.is_blocked then 'blocked' else 'everyone member' end)`;
}

/**
 * The Matrix power level of the member of `s`: muted below all, in a direct room as a member, else by the role.
 */
export const LEVEL = `(case when s.silenced_until > now() then ${String(MUTED_LEVEL)}
  when s.role = any('{${ROLES_WITH_LEVEL.join(",")}}') and exists (select 1 from rooms d where d.id = s.room_id and d.kind = 'direct') then 0
  ${ROLES_WITH_LEVEL.map((name) => `when s.role = '${name}' then ${String(POWER_LEVEL[name])}`).join(" ")} else 0 end)`;

/** Whether a standing has a permission: an SQL condition without parameters. */
export function mayDo(standing: string, permission: Permission): string {
  return `${standing} = any('{${standingsAllowed(permission)
    .map((name) => `"${name}"`)
    .join(",")}}')`;
}
