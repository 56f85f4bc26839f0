import { rowsOf, type Db } from "../../connection/open.ts";

/*
 * What is unread is counted from what the tables hold at that moment, so it is right after any order of events. Each of these
 * expressions is about a membership `s` of the room whose timeline is `t`; bind `unread` to UNREAD_ENTRY_TYPES for FIRST_UNREAD.
 */

/** The room's messages above the position, without the member's own and those that were deleted. */
export const UNREAD = (s: string) => `
  greatest(0, t.message_count - ${s}.read_count - ${s}.own_above - (
    select count(*) from timeline d
     where d.room_id = ${s}.room_id and d.number > ${s}.read_number and d.redacted_at is not null and d.ordinal is not null
       and d.sender_id is distinct from ${s}.user_id))`;

/** The messages above the position that mention the member, or everybody. */
export const MENTIONS = (s: string) => `
  ((select count(*) from mentions n where n.user_id = ${s}.user_id and n.room_id = ${s}.room_id and n.number > ${s}.read_number)
   + (select count(*) from room_mentions n
       where n.room_id = ${s}.room_id and n.number > ${s}.read_number and n.sender is distinct from ${s}.user_id
         and not exists (select 1 from mentions o where o.user_id = ${s}.user_id and o.room_id = n.room_id and o.number = n.number)))`;

/** The number of the first of the unread messages; null for none. */
export const FIRST_UNREAD = (s: string) => `
  (select f.number from timeline f
    where f.room_id = ${s}.room_id and f.number > ${s}.read_number and f.type = any(:unread) and f.redacted_at is null
      and f.sender_id is distinct from ${s}.user_id
    order by f.number limit 1)`;

export type UnreadTotal = { user_id: string; unread: number; mentions: number; rooms: number };

/**
 * What is unread of all rooms of some users. A muted room and one with `notify: none` count nowhere; one with `notify: mentions`
 * counts by its mentions. `rooms`: how many rooms have something of it. One query.
 */
export function countUnread(db: Db, userIds: readonly string[]): Promise<UnreadTotal[]> {
  return rowsOf<UnreadTotal>(
    db,
    `select w.user_id, coalesce(sum(c.unread), 0)::bigint as unread, coalesce(sum(c.mentions), 0)::bigint as mentions,
            count(*) filter (where c.unread > 0 or c.mentions > 0) as rooms
       from unnest(cast(? as uuid[])) as w(user_id)
       left join lateral (
         select case when s.notify = 'mentions' then ${MENTIONS("s")} else ${UNREAD("s")} end as unread, ${MENTIONS("s")} as mentions
           from memberships s join rooms r on r.id = s.room_id and r.deleted_at is null
           join room_timeline t on t.room_id = s.room_id
          where s.user_id = w.user_id and s.desired = 'in' and s.notify <> 'none'
            and (s.muted_until is null or s.muted_until <= now())
       ) c on true
      group by w.user_id`,
    [[...userIds]],
  );
}
