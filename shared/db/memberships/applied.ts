import type { Statement } from "../connection/pipelined-transaction.ts";

/** Whether a user of the tenant is in a room on Matrix. */
export type AppliedMembership = { roomId: string; userId: string; applied: "in" | "out" };

/**
 * Records who is in rooms on Matrix; the last one of a room and user counts. A room whose members differ from what the
 * tenant wants becomes due for its members' job, also for a user who is in it without a membership.
 */
export function applyMemberships(memberships: readonly AppliedMembership[]): Statement {
  const last = new Map(
    memberships.map((membership) => [`${membership.roomId} ${membership.userId}`, membership]),
  );
  const rows = [...last.values()];
  return {
    sql: `with m as (
       select * from unnest(cast(:roomIds as uuid[]), cast(:userIds as uuid[]), cast(:applied as text[])) as m(room_id, user_id, applied)
     ), unlisted as (
       select room_id from m
        where applied = 'in' and not exists (select 1 from memberships s where s.room_id = m.room_id and s.user_id = m.user_id)
     ), shown as (
       update memberships s set applied = m.applied from m
        where s.room_id = m.room_id and s.user_id = m.user_id and s.applied <> m.applied
       returning s.room_id, s.applied, s.desired
     )
     update rooms set members_next_attempt_at = least(coalesce(members_next_attempt_at, now()), now()),
            members_desired_version = members_desired_version + 1,
            strangers_seen_at = case when id in (select room_id from unlisted) then now() else strangers_seen_at end
      where id in (select room_id from shown where applied <> desired union select room_id from unlisted) and deleted_at is null`,
    bindings: {
      roomIds: rows.map((row) => row.roomId),
      userIds: rows.map((row) => row.userId),
      applied: rows.map((row) => row.applied),
    },
  };
}
