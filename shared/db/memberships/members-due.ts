import { rolesAllowed } from "../../contract/permissions.ts";
import { execute, rowsOf, type Db } from "../connection/open.ts";

/**
 * A room's members are due from `rooms.members_next_attempt_at` on, null when there is nothing to do: then the membership
 * job brings the members and the power levels on Matrix to what the tenant wants. Each change that makes them due adds a
 * desired version, so that a job that runs meanwhile does not end the due time of a change that it has not seen.
 */

/**
 * A SET clause of `rooms` that makes a room's members due: now, or at `at` (SQL). An earlier due time stays. With
 * `keepsLater` a later one stays too after a failure. With `when` (SQL), only where that is true.
 */
export function membersDue({
  at = "now()",
  when = "true",
  keepsLater = false,
}: { at?: string; when?: string; keepsLater?: boolean } = {}): string {
  const due = `coalesce(members_next_attempt_at, ${at})`;
  const earlier = `least(${due}, ${at})`;
  const next = keepsLater ? `case when members_attempts > 0 then ${due} else ${earlier} end` : earlier;
  if (when === "true")
    return `members_desired_version = members_desired_version + 1, members_next_attempt_at = ${next}`;
  return `members_desired_version = members_desired_version + case when ${when} then 1 else 0 end,
          members_next_attempt_at = case when ${when} then ${next} else members_next_attempt_at end`;
}

/** Adds `added` to the member counts of rooms and makes their members due. Returns the new count of one of them. */
export async function makeMembersDue(
  trx: Db,
  tenantId: string,
  roomIds: readonly string[],
  added: number,
): Promise<number> {
  const rows = await rowsOf<{ member_count: number }>(
    trx,
    `update rooms set member_count = member_count + :added, ${membersDue()}, members_attempts = 0, members_error = null
      where tenant_id = :tenantId and id = any(:roomIds) returning member_count`,
    { tenantId, roomIds, added },
  );
  return rows[0]?.member_count ?? 0;
}

/** The same with a number for each room. Returns the new counts by room. */
export async function makeMembersDueEach(
  trx: Db,
  tenantId: string,
  added: ReadonlyMap<string, number>,
): Promise<Map<string, number>> {
  if (added.size === 0) return new Map();
  const rows = await rowsOf<{ id: string; member_count: number }>(
    trx,
    `update rooms r set member_count = r.member_count + a.added, ${membersDue()}, members_attempts = 0, members_error = null
       from unnest(cast(:roomIds as uuid[]), cast(:added as int[])) as a(room_id, added)
      where r.tenant_id = :tenantId and r.id = a.room_id returning r.id, r.member_count`,
    { tenantId, roomIds: [...added.keys()], added: [...added.values()] },
  );
  return new Map(rows.map((row) => [row.id, row.member_count]));
}

/** Makes the members of a tenant's rooms due where a member who may react is not on Matrix, a room every 100 ms. */
export async function makeJoinsDue(db: Db, tenantId: string): Promise<void> {
  await execute(
    db,
    `with waiting as (
       select r.id, now() + row_number() over (order by r.id) * interval '100 milliseconds' as due
         from rooms r
        where r.tenant_id = :tenantId and r.deleted_at is null
          and exists (select 1 from memberships s
                       where s.room_id = r.id and s.desired = 'in' and s.applied = 'out' and (s.role = any(:joining) or r.kind = 'direct'))
     )
     update rooms r set ${membersDue({ at: "w.due" })}
       from waiting w where r.id = w.id`,
    { tenantId, joining: [...rolesAllowed("react")] },
  );
}

/** Members who open a room one after the other are joined on Matrix together, after this. */
const JOIN_AFTER = "5 seconds";

/** Records that a member has opened a room. One who may react is then joined on Matrix in the background. */
export async function markOpened(
  db: Db,
  { room_id: roomId, user_id: userId }: { room_id: string; user_id: string },
): Promise<void> {
  await execute(
    db,
    `with opened as (
       update memberships set opened_at = now() where room_id = :roomId and user_id = :userId and opened_at is null
       returning room_id, role, applied
     )
     update rooms r set ${membersDue({ at: `now() + interval '${JOIN_AFTER}'`, keepsLater: true })}
       from opened o where r.id = o.room_id and (o.role = any(:joining) or r.kind = 'direct') and o.applied = 'out'`,
    { roomId, userId, joining: [...rolesAllowed("react")] },
  );
}

/** The membership job failed: its room's members are due again after `delayMs`. */
export async function rescheduleMembers(
  db: Db,
  roomId: string,
  { delayMs, attempts, error }: { delayMs: number; attempts: number; error: string },
): Promise<void> {
  await execute(
    db,
    `update rooms set members_next_attempt_at = now() + :delayMs * interval '1 millisecond',
            members_attempts = :attempts, members_error = :error where id = :roomId`,
    { roomId, delayMs, attempts, error },
  );
}

/** The membership job has more to do than one run may: the rest is due after `delayMs`. */
export async function continueMembersLater(db: Db, roomId: string, delayMs: number): Promise<void> {
  await execute(
    db,
    "update rooms set members_next_attempt_at = now() + :delayMs * interval '1 millisecond' where id = :roomId",
    { roomId, delayMs },
  );
}

/** The membership job has applied a version. The members stay due where there is a newer one, and are due when a mute ends. */
export async function markMembersApplied(db: Db, roomId: string, version: number): Promise<void> {
  await execute(
    db,
    `update rooms set members_applied_version = greatest(members_applied_version, :version), members_attempts = 0,
            members_error = null, members_next_attempt_at = case when members_desired_version > :version then now() else (
              select min(s.silenced_until) from memberships s
               where s.room_id = rooms.id and s.desired = 'in' and s.silenced_until > now()) end
      where id = :roomId`,
    { roomId, version },
  );
}
