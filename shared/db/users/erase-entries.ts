import { MESSAGE_ENTRY_TYPES } from "../../contract/content/index.ts";
import { newFence } from "../../platform/ids.ts";
import { execute, rowsOf, type Db } from "../connection/open.ts";
import { transact } from "../connection/transaction.ts";
import { emptied } from "../messages/emptying.ts";
import { lockTimelineRows } from "../timeline/append.ts";

/** Entries of a timeline that one transaction looks through. */
const ENTRIES_AT_ONCE = 2_000;

type Part = { room_id: string; after_number: number; up_to: number; has_emptied: boolean };

const NEXT = `
  select room_id, after_number, up_to, has_emptied from erasure_rooms where user_id = :userId order by room_id limit 1`;

// Another job may have taken the part meanwhile.
const TAKE = `
  update erasure_rooms set after_number = :to
   where user_id = :userId and room_id = :roomId and after_number = :after returning 1 as one`;

/*
 * Empties what the user wrote in a part of a timeline, as the deletion of each message does, but without an entry for each: a new epoch
 * of the room says so. A reason that the user gave for a deletion goes too. What was sent, or may be, is to be redacted.
 */
const ERASE = `
  with mine as materialized (
    select e.number, e.entry_id, e.event_id, e.type = any(:messages) as is_message, e.type = 'message.deleted' as is_deletion,
           e.redacted_at is not null as was_empty
      from timeline e
     where e.room_id = :roomId and e.number > :after and e.number <= :to and e.sender_id = :userId
       and (e.type = any(:messages) or e.type = any('{message.edited,message.deleted}'))
  ), touched as materialized (
    select m.id, m.open, coalesce(m.seen_event_id, m.event_id) as event_id, mine.is_deletion
      from mine join messages m on m.id = mine.entry_id and m.room_id = :roomId order by m.id for update of m
  ), emptied_rows as (
    update messages m
       set content = case when t.is_deletion then m.content || '{"reason": null}' else ${emptied("m")} end, request_hash = null
      from touched t where m.id = t.id
  ), about as (
    select number, is_deletion from mine
    union
    select e.number, false from mine join timeline e on e.room_id = :roomId and e.relates_to = mine.entry_id
       and e.type = any('{message.edited,reaction.added,reaction.removed}')
     where mine.is_message
  ), emptied_entries as (
    update timeline e
       set content = case when a.is_deletion then e.content || '{"reason": null}' else ${emptied("e")} end,
           redacted_at = case when a.is_deletion then e.redacted_at else coalesce(e.redacted_at, now()) end
      from about a where e.room_id = :roomId and e.number = a.number
  ), states as (
    update message_states s set edit_number = null, pinned_number = null, has_reactions = false
      from mine where mine.is_message and s.room_id = :roomId and s.message_id = mine.entry_id
  ), reactions_gone as (
    delete from reactions r using mine where mine.is_message and r.room_id = :roomId and r.message_id = mine.entry_id
  ), counts_gone as (
    delete from reaction_counts r using mine where mine.is_message and r.room_id = :roomId and r.message_id = mine.entry_id
  ), mentions_gone as (
    delete from mentions n using mine where mine.is_message and n.message_id = mine.entry_id
  ), room_mentions_gone as (
    delete from room_mentions n using mine where mine.is_message and n.message_id = mine.entry_id
  ), waiting_gone as (
    delete from waiting_acts w where w.room_id = :roomId and w.act ->> 'userId' = cast(:userId as text)
  ), to_redact as (
    insert into erasure_events (user_id, room_id, entry_id, event_id)
    select cast(:userId as uuid), cast(:roomId as uuid), mine.entry_id, coalesce(mine.event_id, t.event_id) from mine left join touched t on t.id = mine.entry_id
     where not mine.is_deletion and not mine.was_empty and (coalesce(mine.event_id, t.event_id) is not null or t.open)
        on conflict do nothing
    returning 1
  ), counted as (
    update erasures set entries_done = entries_done + cast(:to as bigint) - cast(:after as bigint),
           messages = messages + (select count(*) from mine where is_message and not was_empty),
           events = events + (select count(*) from to_redact)
     where user_id = :userId
  )
  select count(*) as count from mine`;

// Clients load the room again. The stream that holds what was emptied is removed.
const NEW_EPOCH = `
  with former as (
    select room_id, epoch, scrubs from room_timeline where room_id = :roomId
  ), replaced as (
    update room_timeline set epoch = :epoch where room_id = :roomId
  ), stale as (
    insert into stale_streams (room_id, epoch, scrubs) select room_id, epoch, scrubs from former on conflict do nothing
  )
  insert into unpublished_rooms (room_id) values (:roomId) on conflict do nothing`;

/**
 * Empties the next 2,000 entries of a room of an erasure, in one transaction under the timeline's lock. Returns the room when
 * it is done and has changed: publish it; null for none, `done` when no room is left.
 */
export async function eraseNextEntries(db: Db, userId: string): Promise<{ roomId: string | null } | "done"> {
  const [part] = await rowsOf<Part>(db, NEXT, { userId });
  if (!part) return "done";
  const { room_id: roomId, after_number: after } = part;
  const to = Math.min(part.up_to, after + ENTRIES_AT_ONCE);
  return transact(db, async (trx) => {
    await lockTimelineRows(trx, [roomId]);
    const bindings = { userId, roomId, after, to };
    if ((await rowsOf(trx, TAKE, bindings)).length === 0) return { roomId: null };
    const [erased] = await rowsOf<{ count: number }>(trx, ERASE, {
      ...bindings,
      messages: [...MESSAGE_ENTRY_TYPES],
    });
    const hasEmptied = part.has_emptied || (erased?.count ?? 0) > 0;
    const isWhole = to === part.up_to;
    if (isWhole) await execute(trx, DONE, { userId, roomId });
    else await execute(trx, NOTE_EMPTIED, { userId, roomId, hasEmptied });
    if (!isWhole || !hasEmptied) return { roomId: null };
    await execute(trx, NEW_EPOCH, { roomId, epoch: newFence() });
    return { roomId };
  });
}

const NOTE_EMPTIED =
  "update erasure_rooms set has_emptied = :hasEmptied where user_id = :userId and room_id = :roomId";
const DONE = "delete from erasure_rooms where user_id = :userId and room_id = :roomId";
