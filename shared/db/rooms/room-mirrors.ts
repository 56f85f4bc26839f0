import type { RoomKind } from "../../contract/names.ts";
import { rowsOf, type Db } from "../connection/open.ts";
import { transactPipelined } from "../connection/pipelined-transaction.ts";

/**
 * The mirror of a room is what Matrix has of it. A row of `room_mirrors`:
 *
 * - `closed_count`: how many of our messages an observer has seen, or are dead. With `accepted_count` of `room_outbox` it says
 *   how many wait. `countClosed` adds, `countReopened` subtracts.
 * - `sent_number`: all of ours up to it are seen or dead. It is published to clients, and never goes back.
 * - `changes` grows with each change of the two, so that a due time ends only when nothing has changed since it was served.
 * - `sent_due_at`: since when `sent_number` may be old, or not published; null when it is neither. `storeSentNumbers` brings the
 *   number up to date; after it is published, `clearSentDue` ends the due time where nothing was closed meanwhile.
 *
 * A room of version 0.2 has no row before one of its messages is closed.
 */

/** `sent_number` of the room `r`, where `JOIN_MIRROR` follows. */
export const SENT_NUMBER = "coalesce(mirror.sent_number, 0) as sent_number";
export const JOIN_MIRROR = "left join room_mirrors mirror on mirror.room_id = r.id";

/** How many messages of the room of `o` (room_outbox) wait for Matrix, where `JOIN_COUNTERS` follows. */
export const WAITING_COUNT = "greatest(0, o.accepted_count - coalesce(counters.closed_count, 0))";
export const JOIN_COUNTERS = "left join room_mirrors counters on counters.room_id = o.room_id";

const CHANGED = `
  changes = mirror.changes + 1, sent_due_at = coalesce(mirror.sent_due_at, excluded.sent_due_at)`;

/**
 * The body of a CTE that counts the rows of `closed` (tenant_id, room_id) as closed and makes the rooms' `sent_number` due.
 * Rows are locked in the order of the rooms' ids.
 */
export function countClosed(closed: string): string {
  return `
    insert into room_mirrors as mirror (room_id, tenant_id, closed_count, changes, sent_due_at)
    select room_id, tenant_id, count(*), 1, now() from ${closed} group by room_id, tenant_id order by room_id
        on conflict (room_id) do update
       set closed_count = mirror.closed_count + excluded.closed_count, ${CHANGED}`;
}

/** The body of a CTE that counts the rows of `reopened` (tenant_id, room_id) as waiting again, on the same terms. */
export function countReopened(reopened: string): string {
  return `
    insert into room_mirrors as mirror (room_id, tenant_id, closed_count, changes)
    select room_id, tenant_id, -count(*), 1 from ${reopened} group by room_id, tenant_id order by room_id
        on conflict (room_id) do update
       set closed_count = mirror.closed_count + excluded.closed_count, changes = mirror.changes + 1`;
}

/** The body of a CTE that makes the `sent_number` of the rooms of `rows` (tenant_id, room_id) due, on the same terms. */
export function markSentDue(rows: string): string {
  return `
    insert into room_mirrors as mirror (room_id, tenant_id, changes, sent_due_at)
    select room_id, tenant_id, 1, now() from ${rows} group by room_id, tenant_id order by room_id
        on conflict (room_id) do update set ${CHANGED}`;
}

/** Rooms whose `sent_number` has been due for longer than `dueForMs`, the oldest first. */
export async function findDueSent(
  db: Db,
  { dueForMs, limit }: { dueForMs: number; limit: number },
): Promise<string[]> {
  const rows = await rowsOf<{ room_id: string }>(
    db,
    `select room_id from room_mirrors where sent_due_at < now() - ? * interval '1 millisecond'
      order by sent_due_at limit ?`,
    [dueForMs, limit],
  );
  return rows.map((row) => row.room_id);
}

/** How far Matrix has a room, ready to be published. `changes` names the state that it was computed from. */
export type SentNumber = {
  room_id: string;
  kind: RoomKind;
  slug: string;
  is_deleted: boolean;
  epoch: string;
  sent_number: number;
  changes: number;
};

const LOCK_MIRRORS = "select 1 from room_mirrors where room_id = any(:roomIds) order by room_id for update";

// A statement of its own: it sees what was committed while the locks were waited for. What is closed after it makes the room
// due again.
const STORE_SENT = `
  with reached as (
    select d.room_id, d.changes, t.epoch, r.kind, r.slug, r.deleted_at is not null as is_deleted,
           greatest(d.sent_number, case when o.id is null then t.last_number else e.number - 1 end) as sent_number
      from room_mirrors d join room_timeline t on t.room_id = d.room_id join rooms r on r.id = d.room_id
      left join lateral (select m.id from messages m where m.room_id = d.room_id and m.open order by m.order_number limit 1) o on true
      left join timeline e on e.room_id = d.room_id and e.entry_id = o.id
     where d.room_id = any(:roomIds) and d.sent_due_at is not null
  ), stored as (
    update room_mirrors mirror set sent_number = n.sent_number from reached n
     where mirror.room_id = n.room_id and mirror.sent_number < n.sent_number
  )
  select * from reached`;

/** Brings `sent_number` up to date where it is due, and returns it there. It stays due until `clearSentDue`. */
export async function storeSentNumbers(db: Db, roomIds: readonly string[]): Promise<SentNumber[]> {
  const bindings = { roomIds: [...roomIds] };
  const statements = [
    { sql: LOCK_MIRRORS, bindings },
    { sql: STORE_SENT, bindings },
  ];
  // Where a crash undoes it, the rooms are due again.
  const [, rows] = await transactPipelined<[unknown[], SentNumber[]]>(db, statements, { mayBeLost: true });
  return rows;
}

/** Ends the due time of rooms that were published as `storeSentNumbers` returned them, where no message was closed since. */
export async function clearSentDue(db: Db, published: readonly SentNumber[]): Promise<void> {
  const bindings = {
    roomIds: published.map((row) => row.room_id),
    changes: published.map((row) => row.changes),
  };
  await transactPipelined(db, [{ sql: CLEAR_DUE, bindings }], { mayBeLost: true });
}

const CLEAR_DUE = `
  with unchanged as (
    select m.room_id from room_mirrors m
      join unnest(cast(:roomIds as uuid[]), cast(:changes as bigint[])) as p(room_id, changes)
        on p.room_id = m.room_id and p.changes = m.changes
     order by m.room_id for update of m
  ) update room_mirrors m set sent_due_at = null from unchanged u where m.room_id = u.room_id`;
