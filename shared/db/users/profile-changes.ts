import type { Role } from "../../contract/roles.ts";
import { rowsOf, type Db } from "../connection/open.ts";
import { PROVISIONING_CHANGED } from "../provisioning-due.ts";

/*
 * A changed name or avatar is announced to the rooms of the user, once for all changes of `DELAY_S`: an import that changes a
 * person twice makes one entry in each room. `users.profile_changed_at` says since when that is due, null for nothing.
 */

/** SET clauses of `users` for a changed profile; the former and the new display name, as SQL. Matrix has the name alone. */
export const profileChanged = (former: string, name: string) => `
  ${PROVISIONING_CHANGED}, profile_changed_at = coalesce(profile_changed_at, now()),
  name_version = case when ${former} is distinct from ${name} then desired_version + 1 else name_version end`;

const DELAY_S = 3;

/** How many users are looked at at once. */
const MAX_USERS = 200;

/** In so many rooms a change is announced: those of the user that spoke last. */
const MAX_ROOMS_OF_USER = 256;

/**
 * The users whose change is due, as many as have `limit` rooms together, or one. `room_ids`: those of at
 * most `maxMembers` members. Locks nothing.
 */
export function findChangedProfiles(
  db: Db,
  { limit, maxMembers }: { limit: number; maxMembers: number },
): Promise<{ user_id: string; changed_at: string; room_ids: string[] }[]> {
  return rowsOf(
    db,
    `with due as materialized (
       select id, profile_changed_at from users
        where profile_changed_at <= now() - ${DELAY_S} * interval '1 second' order by profile_changed_at limit ${MAX_USERS}
     ), counted as (
       select d.*, f.room_ids, sum(cardinality(f.room_ids)) over (order by d.profile_changed_at, d.id) as total,
              row_number() over (order by d.profile_changed_at, d.id) as place
         from due d cross join lateral (
           select array(
             select s.room_id from memberships s
               join rooms r on r.id = s.room_id and r.deleted_at is null and r.member_count <= :maxMembers
               join room_timeline t on t.room_id = s.room_id
              where s.user_id = d.id and s.desired = 'in'
              order by t.last_message_at desc nulls last limit ${MAX_ROOMS_OF_USER}
           ) as room_ids
         ) f
     )
     select id as user_id, cast(profile_changed_at as text) as changed_at, room_ids from counted where total <= :limit or place = 1
      order by place`,
    { limit, maxMembers },
  );
}

/**
 * Takes the changes of users as they were found, and locks their rows: who changes meanwhile is due again. Returns the ids of those
 * whom nobody else took. Lock the rooms' timelines before.
 */
export async function takeChangedProfiles(
  trx: Db,
  found: readonly { user_id: string; changed_at: string }[],
): Promise<Set<string>> {
  const rows = await rowsOf<{ id: string }>(
    trx,
    `with taken as (
       select u.id from users u
         join unnest(cast(:ids as uuid[]), cast(:times as timestamptz[])) as f(id, at) on f.id = u.id and f.at = u.profile_changed_at
        order by u.id for no key update of u
     )
     update users u set profile_changed_at = null from taken where u.id = taken.id returning u.id`,
    { ids: found.map(({ user_id: id }) => id), times: found.map(({ changed_at: at }) => at) },
  );
  return new Set(rows.map(({ id }) => id));
}

/** The roles of users in rooms whose timelines are locked; without those who are no members. */
export function readRoles(
  trx: Db,
  members: readonly { userId: string; roomId: string }[],
): Promise<{ user_id: string; room_id: string; role: Role; muted_until: Date | null }[]> {
  return rowsOf(
    trx,
    `select s.user_id, s.room_id, s.role,
            case when s.silenced_until > now() then s.silenced_until end as muted_until
       from memberships s
       join unnest(cast(? as uuid[]), cast(? as uuid[])) as m(user_id, room_id) on m.user_id = s.user_id and m.room_id = s.room_id
      where s.desired = 'in' order by s.room_id, s.user_id`,
    [members.map(({ userId }) => userId), members.map(({ roomId }) => roomId)],
  );
}
