/**
 * The mirror of a room is what Matrix has of it. A row of `room_mirrors`:
 *
 * - `closed_count`: how many of our messages an observer has seen, or are dead. With `accepted_count` of `room_outbox` it says
 *   how many wait. `countClosed` adds, `countReopened` subtracts.
 * - `sent_number`: all of ours up to it are seen or dead. It is published to clients, and never goes back.
 * - `sent_due_at`: since when `sent_number` may be old; null when it is not.
 *
 * A room that a process of version 0.2 made has no row before the first of its messages is closed.
 */

/** `sent_number` of the room `r`, where `JOIN_MIRROR` follows. */
export const SENT_NUMBER = "coalesce(mirror.sent_number, 0) as sent_number";
export const JOIN_MIRROR = "left join room_mirrors mirror on mirror.room_id = r.id";

/**
 * The body of a CTE that counts the rows of `closed` (tenant_id, room_id) as closed and makes the rooms' `sent_number` due.
 * Rows are locked in the order of the rooms' ids.
 */
export function countClosed(closed: string): string {
  return `
    insert into room_mirrors as mirror (room_id, tenant_id, closed_count, sent_due_at)
    select room_id, tenant_id, count(*), now() from ${closed} group by room_id, tenant_id order by room_id
        on conflict (room_id) do update
       set closed_count = mirror.closed_count + excluded.closed_count, sent_due_at = coalesce(mirror.sent_due_at, now())`;
}

/** The body of a CTE that counts the rows of `reopened` (tenant_id, room_id) as waiting again, on the same terms. */
export function countReopened(reopened: string): string {
  return `
    insert into room_mirrors as mirror (room_id, tenant_id, closed_count)
    select room_id, tenant_id, -count(*) from ${reopened} group by room_id, tenant_id order by room_id
        on conflict (room_id) do update set closed_count = mirror.closed_count + excluded.closed_count`;
}
