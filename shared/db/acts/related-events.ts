import { rowsOf, type Db } from "../connection/open.ts";

/** An event that an act is about too. `id`: of our act that made it, whose event may not be marked yet. */
export type RelatedEvent = { id: string | null; event_id: string | null };

/** More events are not redacted with one message. */
const RELATED_AT_MOST = 1_000;

const EDITS = `
  select e.entry_id as id, coalesce(m.event_id, e.event_id) as event_id
    from timeline e left join messages m on m.id = e.entry_id
   where e.room_id = :roomId and e.relates_to = :targetId and e.type = 'message.edited'
     and (m.id is null or m.status <> 'dead' or m.event_id is not null)
   order by e.number limit ${String(RELATED_AT_MOST)}`;

/** The edits of a message, ours and those of other clients, the oldest first. */
export function findEdits(db: Db, roomId: string, targetId: string): Promise<RelatedEvent[]> {
  return rowsOf<RelatedEvent>(db, EDITS, { roomId, targetId });
}

// What was removed before is redacted again only for an act that a restored homeserver may have lost.
const REACTIONS = `
  with act as (
    select m.room_id, m.target_id, m.sender_id, m.content ->> 'key' as key, m.order_number, m.replayed from messages m where m.id = :id
  ), earlier as (
    select m.id, m.event_id, m.content ->> 'kind' as kind, m.status, m.order_number
      from act join messages m on m.target_id = act.target_id and m.sender_id = act.sender_id and m.content ->> 'key' = act.key
                              and m.order_number < act.order_number
  )
  select distinct on (event_id, id) id, event_id from (
    select cast(null as uuid) as id, x.event_id from act join reaction_events x
        on x.room_id = act.room_id and x.message_id = act.target_id and x.key = act.key and x.person = act.sender_id
     where act.replayed or not x.removed
    union
    select r.id, r.event_id from act, earlier r
     where r.kind = 'reaction' and r.status <> 'dead'
       and (act.replayed or not exists (select 1 from earlier u where u.kind = 'unreaction' and u.order_number > r.order_number and u.status = 'sent'))
       and not exists (select 1 from reaction_events x where x.room_id = act.room_id and x.event_id = r.event_id)
  ) found order by event_id, id limit ${String(RELATED_AT_MOST)}`;

/** The events of the reactions that the removal `id` ends: those that were read from Matrix, and those of our earlier acts. */
export function findReactions(db: Db, id: string): Promise<RelatedEvent[]> {
  return rowsOf<RelatedEvent>(db, REACTIONS, { id });
}
