import { DEFAULT_KIND, ENTRY_TYPES, UNREAD_ENTRY_TYPES } from "../../contract/content/index.ts";
import { appendOffered, IS_NEW } from "../timeline/append.ts";
import { VIEW_STALE } from "../connection/failures.ts";
import type { Statement } from "../connection/pipelined-transaction.ts";

/**
 * A message is settled when Matrix shows its event and its entry stands in the timeline: then it is `sent`, with a number,
 * and no longer open. It may be settled from any open state, since the event may be read before the drain marks the
 * message. Only reading from Matrix settles messages.
 */
export type OwnEvent = { roomId: string; messageId: string; eventId: string };

/** An event that claims to be a message of ours; the message's row shows whether it is. */
export type ClaimedEvent = OwnEvent & { sender: string };

/** A message that was settled, with its number in the timeline. */
export type SettledMessage = { room: string; message: string; requestId: string | null; number: number };

/**
 * Appends messages of ours to their timelines from their rows, in the order given. The timelines must be locked. Requires
 * that each is a message by that sender in that room, and not in the timeline yet: VIEW_STALE. Returns AppendedRow.
 */
export function appendOwnMessages(events: readonly ClaimedEvent[]): Statement {
  return {
    sql: APPEND_OWN,
    bindings: {
      rows: JSON.stringify(events.map((event, position) => ({ ...event, position }))),
      unread: [...UNREAD_ENTRY_TYPES],
      entryTypes: JSON.stringify(ENTRY_TYPES),
      defaultKind: DEFAULT_KIND,
    },
  };
}

// Each row is found by its key: for a join, Postgres keeps a plan that reads the whole table.
const APPEND_OWN = appendOffered(`
  select o.*, row_number() over (partition by o.room_id order by o.position) as place
    from (select s."roomId" as room_id, s.position, m.id as entry_id, s."eventId" as event_id,
                 cast(:entryTypes as jsonb) ->> coalesce(m.content ->> 'kind', :defaultKind) as type,
                 m.sender_id, cast(null as text) as sender_name, m.client_id, m.content, m.accepted_at as at
            from jsonb_to_recordset(cast(:rows as jsonb))
                   as s("roomId" uuid, position int, "messageId" uuid, "eventId" text, sender text)
            left join lateral (
              select m.* from messages m join users u on u.id = m.sender_id
               where m.id = s."messageId" and m.room_id = s."roomId" and m.timeline_number is null
                 and u.matrix_user_id = s.sender
               limit 1) m on true
           where omc_require(m.id is not null, '${VIEW_STALE}')
          offset 0) o
   where ${IS_NEW}`);

/**
 * Settles messages whose entries the same transaction has appended. A sender has read everything up to the message.
 * Returns SettledMessage, of those that were open.
 */
export function settleMessages(events: readonly OwnEvent[]): Statement {
  return {
    // The lists are parameters, so that Postgres makes a plan for their lengths and the tables' sizes. For a list of unknown
    // length it keeps a plan for a hundred rows, which reads all of a small table.
    sql: `with settled as (
       select e.room_id, e.number, s.message_id, s.event_id
         from unnest(cast(:messageIds as uuid[]), cast(:eventIds as text[]), cast(:roomIds as uuid[]))
                as s(message_id, event_id, room_id)
         join timeline e on e.room_id = s.room_id and e.entry_id = s.message_id
     ), sent as (
       update messages m
          set status = 'sent', open = false, event_id = s.event_id, timeline_number = s.number, sent_at = coalesce(m.sent_at, now()),
              error_code = null, error_message = null
         from settled s where m.id = s.message_id and m.open
       returning m.id, m.room_id, m.sender_id, m.request_id, m.timeline_number
     ), read as (
       update memberships p set read_count = t.message_count
         from (select distinct room_id, sender_id from sent) w join room_timeline t on t.room_id = w.room_id
        where p.room_id = w.room_id and p.user_id = w.sender_id
     )
     select room_id as room, id as message, request_id as "requestId", timeline_number as number from sent
      order by room_id, timeline_number`,
    bindings: {
      messageIds: events.map((event) => event.messageId),
      eventIds: events.map((event) => event.eventId),
      roomIds: events.map((event) => event.roomId),
    },
  };
}
