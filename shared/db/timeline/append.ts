import { UNREAD_ENTRY_TYPES } from "../../contract/content/index.ts";
import type { EntryType } from "../../contract/frames.ts";
import type { Statement } from "../connection/pipelined-transaction.ts";
import { rowsOf, type Db } from "../connection/open.ts";
import { lockMemberships } from "../memberships/lock-memberships.ts";
import { NOTE_MENTIONS_OF_ENTRIES } from "../memberships/mentions/mentions.ts";
import { ENTRY_COLUMNS, ENTRY_JOINS, type EntryRow } from "./entries.ts";

/*
 * The rules of `room_timeline`, the one row that says where a room's timeline stands:
 *
 * - `last_number` is the number of the newest entry. Numbers are given out under the row's lock, in the transaction that
 *   inserts the entries. A transaction that ends without a commit gives its numbers back, so a timeline has no gap.
 * - A row in `unpublished_rooms` marks that the stream in Redis may lack entries. The statement that appends writes it while
 *   it holds the row's lock; `publish-state.ts` says who removes it. `published_number` is what
 *   version 0.2 left.
 * - `scrubs` grows when content is removed that stood in the stream: the entries are published to a stream of another key then,
 *   and `stale_streams` names the one that is to be removed.
 * - `message_count` counts the messages: the `ordinal` of the newest one.
 * - `epoch` names the stream. It changes when a stream is ahead of its timeline, because then the offsets that clients
 *   hold belong to a database that is gone.
 * - `gap_from`, `gap_to` and `is_rereading` describe what `/sync` left out. While a gap is open, only the job that fills
 *   it numbers what comes from Matrix.
 * - `count_due_at` is when the count of members is appended; null when no count is due.
 * - The timeline consumers have their own cursors: see `shared/timeline/consumers/define.ts`. The statement that appends
 *   marks them as due while it holds the row's lock.
 *
 * A transaction that locks several rows locks them in the order of the rooms' ids.
 */

/** Where a room's timeline stands. `scrubs`: how often its stream was replaced by one without what was deleted. */
export type RoomState = { room_id: string; epoch: string; last_number: number; scrubs: number };

/** An entry that was appended, ready to be published, with its room's state after the append. */
export type AppendedRow = EntryRow & RoomState & { tenant_id: string };

/** An entry that is offered to the timeline of a room; `position` is its place in all that is offered. */
export type OfferedRow = {
  room_id: string;
  position: number;
  entry_id: string;
  event_id: string | null;
  type: EntryType;
  sender_id: string | null;
  sender_name: string | null;
  sender_ref: string | null;
  client_id: string | null;
  relates_to: string | null;
  content: Record<string, unknown>;
  /** ISO 8601; null: the transaction's time. */
  at: string | null;
};

/** Locks the timelines of rooms, in id order, until the transaction ends. */
export async function lockTimelineRows(trx: Db, roomIds: readonly string[]): Promise<void> {
  await trx.raw("select 1 from room_timeline where room_id = any(?) order by room_id for update", [
    [...roomIds],
  ]);
}

/** Locks the timeline of one room until the transaction ends. */
export function lockTimeline(roomId: string): Statement {
  return { sql: "select 1 from room_timeline where room_id = :roomId for update", bindings: { roomId } };
}

/** Appends rows where the rooms' timelines are locked, or only one room is named. Returns AppendedRow. */
export function appendRows(rows: readonly OfferedRow[]): Statement {
  return { sql: APPEND, bindings: { rows: JSON.stringify(rows), unread: [...UNREAD_ENTRY_TYPES] } };
}

/** Runs what `appendRows` returns, in the caller's transaction. */
export function runAppend(trx: Db, { sql, bindings }: Statement): Promise<AppendedRow[]> {
  return rowsOf<AppendedRow>(trx, sql, bindings);
}

/**
 * CTEs that append what `offered` returns: the body of a CTE with the columns of an OfferedRow, the `place` of each row in
 * its room, its `message_place` among the messages (null for what is none), and `scrubs`: whether it removes content that
 * stood in the stream. Where that may be so, add STALE_STREAMS. The rooms' timelines are locked already. Bind `unread` to UNREAD_ENTRY_TYPES. `entries` are the rows of the
 * timeline, `bumped` the rooms' states.
 */
export function appendingCtes(offered: string): string {
  return `offered as (${offered}), counted as (${COUNTED}), bumped as (${BUMPED}), marked as (${MARKED}),
     unpublished as (${UNPUBLISHED}), entries as (${INSERTED})`;
}

/**
 * Of `o`: what is not in its room's timeline yet. `offset 0` makes Postgres look each row up by its key. Without it,
 * Postgres joins, and reads the whole table until that has some ten thousand rows.
 */
const IS_NEW = `
  not exists (select 1 from timeline t where t.room_id = o.room_id and t.entry_id = o.entry_id offset 0)
  and not exists (select 1 from timeline t where t.room_id = o.room_id and t.event_id = o.event_id offset 0)`;

const COUNTED = `
  select room_id, count(*) as added, count(*) filter (where scrubs) as scrubs, count(*) filter (where type = any(:unread)) as messages,
         max(place) filter (where type = any(:unread)) as last_message_place,
         max(coalesce(at, now())) filter (where type = any(:unread)) as last_message_at
    from offered group by room_id`;

const BUMPED = `
  update room_timeline t
     set last_number = t.last_number + c.added,
         message_count = t.message_count + c.messages,
         last_message_number = coalesce(t.last_number + c.last_message_place, t.last_message_number),
         last_message_at = coalesce(c.last_message_at, t.last_message_at),
         scrubs = t.scrubs + c.scrubs
    from counted c where t.room_id = c.room_id
  returning t.room_id, t.tenant_id, t.epoch, t.last_number, t.scrubs, t.message_count, t.last_number - c.added as base,
            t.message_count - c.messages as message_base`;

/** A CTE that names the streams which hold what was removed. */
export const STALE_STREAMS = `stale as (
  insert into stale_streams (room_id, epoch, scrubs)
  select b.room_id, b.epoch, b.scrubs - c.scrubs from bumped b join counted c using (room_id) where c.scrubs > 0
      on conflict do nothing)`;

const UNPUBLISHED =
  "insert into unpublished_rooms (room_id) select room_id from bumped on conflict do nothing";

// Makes the rooms due for every registered consumer, under the rooms' row locks. A room without a cursor begins where it
// stood before this append. What is due already keeps its time: an append does not cut a back-off short.
const MARKED = `
  insert into timeline_cursors as k (consumer, room_id, tenant_id, position, next_attempt_at)
  select c.name, b.room_id, b.tenant_id, b.base, now() from bumped b cross join timeline_consumers c
      on conflict (consumer, room_id) do update set next_attempt_at = excluded.next_attempt_at
   where k.next_attempt_at is null`;

const INSERTED = `
  insert into timeline (room_id, number, tenant_id, entry_id, event_id, type, sender_id, sender_name, sender_ref, client_id, relates_to, content, at, ordinal)
  select o.room_id, b.base + o.place, b.tenant_id, o.entry_id, o.event_id, o.type, o.sender_id, o.sender_name,
         o.sender_ref, o.client_id, o.relates_to, o.content, coalesce(o.at, now()), b.message_base + o.message_place
    from offered o join bumped b using (room_id)
   order by o.position
  returning *`;

/** The entries that `appendingCtes` appended, as AppendedRow. */
export const SELECT_APPENDED = `
  select ${ENTRY_COLUMNS}, b.tenant_id, b.epoch, b.last_number, b.scrubs
    from entries e join bumped b using (room_id) ${ENTRY_JOINS}
   order by e.room_id, e.number`;

const OFFERED = `
  select o.*, false as scrubs, row_number() over (partition by room_id order by position) as place,
         case when type = any(:unread)
              then row_number() over (partition by room_id, type = any(:unread) order by position) end as message_place
    from jsonb_to_recordset(cast(:rows as jsonb)) as o(room_id uuid, position int, entry_id uuid, event_id text, type text,
         sender_id uuid, sender_name text, sender_ref uuid, client_id text, relates_to uuid, content jsonb, at timestamptz)
   where ${IS_NEW}`;

// Who writes on Matrix has read the room up to there. `ACCEPT` has its own, which is simpler.
const READ = `
  update memberships p
     set read_number = w.number, receipt_number = greatest(p.receipt_number, w.number), own_above = 0,
         read_count = b.message_count - (
           select count(*) from entries l where l.room_id = w.room_id and l.number > w.number and l.type = any(:unread))
    from (${lockMemberships(`
           select room_id, sender_id as user_id, max(number) as number from entries
            where type = any(:unread) and sender_id is not null group by room_id, sender_id`)}) w
    join bumped b on b.room_id = w.room_id
   where p.room_id = w.room_id and p.user_id = w.user_id and p.read_number < w.number`;

const APPEND = `with ${appendingCtes(OFFERED)}, read as (${READ}), ${NOTE_MENTIONS_OF_ENTRIES} ${SELECT_APPENDED}`;
