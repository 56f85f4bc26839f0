/**
 * A query that locks the memberships that `wanted` names (room_id, user_id, and any other columns), one by one in the order of all
 * transactions: by room, then by person. Returns `wanted`, of those who are members. A statement that changes several memberships
 * joins it: without it, Postgres locks rows in the order in which it happens to join them, and two statements may wait for each other.
 */
export function lockMemberships(wanted: string): string {
  return `
    select w.* from (select * from (${wanted}) named order by room_id, user_id offset 0) w
     cross join lateral (
       select from memberships k where k.room_id = w.room_id and k.user_id = w.user_id for no key update) locked
    offset 0`;
}
