import { emptied } from "../messages/emptying.ts";
import { MESSAGE_ENTRY_TYPES, UNREAD_ENTRY_TYPES } from "../../contract/content/index.ts";
import { rowsOf, type Db } from "../connection/open.ts";
import { transact } from "../connection/transaction.ts";
import { lockTimelineRows } from "./append.ts";

/*
 * A room with `retention_days` keeps its timeline for so long: what is older is cut away, from number 1 upwards, so that what is left
 * stays contiguous. `room_timeline.cut_number` is the last number that is gone, `not_before` the time of the newest of those entries:
 * what Matrix has from up to then is not taken over again.
 */

/** Entries that one transaction cuts. */
const ENTRIES_AT_ONCE = 1_000;

/** A stream of Redis has fewer entries: see `publish.ts`. */
const STREAM_ENTRIES_AT_MOST = 6_000;

const DAYS = "r.retention_days * interval '1 day'";

/** Rooms whose oldest entry is older than they keep it, by id after another, `limit` at most. Deleted rooms too. */
export async function findRoomsToCut(
  db: Db,
  { after, limit }: { after: string; limit: number },
): Promise<string[]> {
  const rows = await rowsOf<{ id: string }>(
    db,
    `select r.id from rooms r join room_timeline t on t.room_id = r.id
       join timeline e on e.room_id = r.id and e.number = t.cut_number + 1
      where r.retention_days > 0 and r.id > :after and e.at < now() - ${DAYS}
      order by r.id limit :limit`,
    { after, limit },
  );
  return rows.map(({ id }) => id);
}

/*
 * The cut ends before the first entry that is young, or whose message or an act on it is still on its way to Matrix. What later
 * entries hold of a message that is cut is emptied, as if it was deleted. Who has not read as far as the cut starts to read after it.
 */
const CUT = `
  with state as (
    select t.room_id, t.cut_number, t.last_number, t.epoch, t.scrubs, now() - ${DAYS} as before
      from room_timeline t join rooms r on r.id = t.room_id where t.room_id = :roomId and r.retention_days > 0
  ), oldest as materialized (
    select e.number, e.entry_id, e.at, e.sender_id, e.ordinal, e.type = any(:messages) as is_message, e.type = any(:unread) as is_unread,
           e.at >= s.before or exists (select 1 from messages m where m.id = e.entry_id and m.open)
             or exists (select 1 from messages a where a.target_id = e.entry_id and a.open) as stays
      from state s join timeline e on e.room_id = s.room_id and e.number > s.cut_number
     order by e.number limit ${String(ENTRIES_AT_ONCE)}
  ), going as materialized (
    select * from oldest where number < coalesce((select min(number) from oldest where stays), 9223372036854775807)
  ), cut as materialized (
    select g.*, coalesce(g.ordinal, t.message_count - (
             select count(*) from timeline l where l.room_id = t.room_id and l.number > g.number and l.type = any(:unread))) as messages
      from (select max(number) as number, max(at) as at, max(ordinal) as ordinal, count(*) as count from going having count(*) > 0) g
      join room_timeline t on t.room_id = :roomId
  ), counted as (
    update memberships s
       set read_number = cut.number, receipt_number = greatest(s.receipt_number, cut.number),
           read_count = greatest(s.read_count, cut.messages),
           own_above = greatest(0, s.own_above - (
             select count(*) from going g where g.is_unread and g.sender_id = s.user_id and g.number > s.read_number))
      from cut where s.room_id = :roomId and s.read_number < cut.number
  ), named as (
    select x.id, bool_and(x.is_act_on) as is_act_on from (
      select entry_id as id, false as is_act_on from going
      union all
      select m.id, true from going g join messages m on m.target_id = g.entry_id where g.is_message
    ) x group by x.id
  ), rows as materialized (
    select m.id, n.is_act_on from named n join messages m on m.id = n.id order by m.id for update of m
  ), rows_gone as (
    delete from messages m using rows where m.id = rows.id and not rows.is_act_on
  ), rows_emptied as (
    update messages m set content = ${emptied("m")}, request_hash = null
      from rows where m.id = rows.id and rows.is_act_on and m.content ->> 'kind' = 'edit'
  ), about as (
    select e.number from going g join timeline e on e.room_id = :roomId and e.relates_to = g.entry_id
       and e.type = any('{message.edited,reaction.added,reaction.removed}')
     where g.is_message and e.number > (select number from cut)
  ), entries_emptied as (
    update timeline e set content = ${emptied("e")}, redacted_at = coalesce(e.redacted_at, now())
      from about a where e.room_id = :roomId and e.number = a.number
  ), entries_gone as (
    delete from timeline e using going g where e.room_id = :roomId and e.number = g.number
  ), states_gone as (
    delete from message_states x using going g where g.is_message and x.room_id = :roomId and x.message_id = g.entry_id
  ), reactions_gone as (
    delete from reactions x using going g where g.is_message and x.room_id = :roomId and x.message_id = g.entry_id
  ), counts_gone as (
    delete from reaction_counts x using going g where g.is_message and x.room_id = :roomId and x.message_id = g.entry_id
  ), events_gone as (
    delete from reaction_events x using going g where g.is_message and x.room_id = :roomId and x.message_id = g.entry_id
  ), mentions_gone as (
    delete from mentions x using going g where g.is_message and x.message_id = g.entry_id
  ), room_mentions_gone as (
    delete from room_mentions x using going g where g.is_message and x.message_id = g.entry_id
  ), scrubbed as materialized (
    select s.last_number - s.cut_number < ${String(STREAM_ENTRIES_AT_MOST)} as is_so from state s
  ), moved as (
    update room_timeline t
       set cut_number = cut.number, not_before = greatest(t.not_before, cut.at), scrubs = t.scrubs + cast(scrubbed.is_so as int)
      from cut cross join scrubbed where t.room_id = :roomId
  ), stale as (
    insert into stale_streams (room_id, epoch, scrubs)
    select s.room_id, s.epoch, s.scrubs from state s cross join cut cross join scrubbed where scrubbed.is_so
        on conflict do nothing
  )
  select count from cut`;

/** Cuts the next entries of a room that are older than it keeps them, under its timeline's lock. `isWhole`: none is left. */
export async function cutTimeline(db: Db, roomId: string): Promise<{ count: number; isWhole: boolean }> {
  return transact(db, async (trx) => {
    await lockTimelineRows(trx, [roomId]);
    const bindings = { roomId, messages: [...MESSAGE_ENTRY_TYPES], unread: [...UNREAD_ENTRY_TYPES] };
    const [cut] = await rowsOf<{ count: number }>(trx, CUT, bindings);
    const count = cut?.count ?? 0;
    return { count, isWhole: count < ENTRIES_AT_ONCE };
  });
}
