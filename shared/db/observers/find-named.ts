import type { MessageStatus } from "../../contract/resources.ts";
import type { Standing } from "../../contract/permissions.ts";
import { isHere, type WaitingAct } from "../acts/waiting-acts.ts";
import { rowsOf, type Db } from "../connection/open.ts";
import { STANDING } from "../memberships/standing.ts";
import type { ObservedRoom } from "./observed-rooms.ts";

/** What some events name: rooms and people by Matrix id, messages of ours by id, redacted events. */
export type Named = {
  rooms: readonly string[];
  people: readonly string[];
  messages: readonly string[];
  /** Ids of events that may be messages of ours, though no marker says so: a part of them, or all, was taken away. */
  events: readonly string[];
  /** Ids of events that are redacted. */
  redacted: readonly string[];
  /** Events that are answered, or began a thread, each with its Matrix room. */
  answered: readonly { room: string; event: string }[];
  /** Who wishes to mention everybody, in which Matrix room. */
  mentioning: readonly { room: string; sender: string }[];
  /** Ids of all the events: acts may wait for them. */
  all: readonly string[];
};

/**
 * A redacted event that is here, as a message or an act. `is_waiting`: as an act that waits for its target; not so a deletion, of which
 * the redaction changes nothing.
 */
export type RedactedEvent = { room_id: string; event_id: string; is_waiting: boolean };

/** A message or an act of ours that an event is, or claims to be. */
export type MarkedMessage = {
  id: string;
  room_id: string;
  /** Null where the product itself wrote it. */
  sender_matrix_id: string | null;
  /** Who carries it out on Matrix. */
  acts_as: "sender" | "observer";
  /** The event of the message that an act is about; null for a message, and where Matrix has none of it. */
  target_event_id: string | null;
  /** As the row keeps it: see `parseContent` and `parseAct`. */
  content: Record<string, unknown>;
  event_id: string | null;
  status: MessageStatus;
};

/** `name`: for people to read; null for a deleted user. */
export type NamedUser = { id: string; matrix_user_id: string; external_id: string; name: string | null };

export type FoundRows = {
  rooms: ObservedRoom[];
  users: NamedUser[];
  messages: MarkedMessage[];
  redacted: RedactedEvent[];
  /** The messages of events that are answered; of an act's event, the message that it is about. */
  answered: { room_id: string; event_id: string; message_id: string }[];
  /** The standings of those who wish to mention everybody. */
  mentioning: { room_id: string; matrix_user_id: string; standing: Standing }[];
  /** Acts that wait for events, and the redactions of those acts. */
  waiting: WaitingAct[];
};

/** Of a room's open messages, those that may be sent and not seen stand first. */
const UNSEEN_AT_MOST = 1_000;

// Lists come as JSON: for a list of parameters Postgres makes a new plan each time, which every message would wait for.
const FIND_NAMED = `
  select (select coalesce(jsonb_agg(jsonb_build_object('id', r.id, 'matrix_room_id', r.matrix_room_id, 'gap_from', t.gap_from,
                   'not_before_ms', cast(extract(epoch from t.not_before) * 1000 as bigint))), '[]')
            from jsonb_array_elements_text(named.list -> 'rooms') as n(matrix_room_id)
            join rooms r on r.observer_id = :observerId and r.matrix_room_id = n.matrix_room_id and r.deleted_at is null
            join room_timeline t on t.room_id = r.id) as rooms,
         (select coalesce(jsonb_agg(jsonb_build_object('id', u.id, 'matrix_user_id', u.matrix_user_id, 'external_id', u.external_id,
                   'name', case when u.deleted_at is null then coalesce(u.display_name, u.external_id) end)), '[]')
            from jsonb_array_elements_text(named.list -> 'people') as n(matrix_user_id)
            join users u on u.tenant_id = :tenantId and u.matrix_user_id = n.matrix_user_id) as users,
         (select coalesce(jsonb_agg(jsonb_build_object(
                   'id', m.id, 'room_id', m.room_id, 'sender_matrix_id', u.matrix_user_id, 'acts_as', m.acts_as,
                   'target_event_id', a.event_id, 'content', m.content, 'event_id', m.event_id,
                   'status', m.status)), '[]')
            from (select cast(n.id as uuid) as id from jsonb_array_elements_text(named.list -> 'messages') as n(id)
                  union
                  select x.id from jsonb_array_elements_text(named.list -> 'events') as n(event_id)
                    join jsonb_array_elements_text(named.list -> 'rooms') as named_room(matrix_room_id) on true
                    join rooms r on r.observer_id = :observerId and r.matrix_room_id = named_room.matrix_room_id and r.deleted_at is null
                    join lateral (
                      select x.id from messages x where x.room_id = r.id and x.seen_event_id = n.event_id
                      union all
                      select x.entry_id from timeline x where x.room_id = r.id and x.event_id = n.event_id
                      union all
                      select x.id from (
                        select id, event_id from messages where room_id = r.id and open order by order_number limit ${String(UNSEEN_AT_MOST)}
                      ) x where x.event_id = n.event_id
                    ) x on true) named_message
            join messages m on m.id = named_message.id and m.tenant_id = :tenantId
            left join users u on u.id = m.sender_id
            join timeline e on e.room_id = m.room_id and e.entry_id = m.id
            left join lateral (
              select coalesce(tm.event_id, te.event_id) as event_id
                from timeline te left join messages tm on tm.id = te.entry_id
               where te.room_id = m.room_id and te.entry_id = m.target_id) a on m.target_id is not null) as messages,
         (select coalesce(jsonb_agg(jsonb_build_object('room_id', r.id, 'event_id', n.event_id, 'is_waiting', coalesce(w.act ->> 'kind' <> 'deletion', false))), '[]')
            from jsonb_array_elements_text(named.list -> 'redacted') as n(event_id)
            join jsonb_array_elements_text(named.list -> 'rooms') as named_room(matrix_room_id) on true
            join rooms r on r.observer_id = :observerId and r.matrix_room_id = named_room.matrix_room_id and r.deleted_at is null
            left join waiting_acts w on w.room_id = r.id and w.event_id = n.event_id
           where w.event_id is not null or ${isHere("r.id", "n.event_id")}) as redacted,
         (select coalesce(jsonb_agg(jsonb_build_object('room_id', r.id, 'event_id', n.event, 'message_id', x.id)), '[]')
            from jsonb_to_recordset(named.list -> 'answered') as n(room text, event text)
            join rooms r on r.observer_id = :observerId and r.matrix_room_id = n.room and r.deleted_at is null
            join lateral (
              select coalesce(x.relates_to, x.entry_id) as id from timeline x where x.room_id = r.id and x.event_id = n.event
              union all
              select coalesce(x.target_id, x.id) from messages x where x.room_id = r.id and x.seen_event_id = n.event
              union all
              select coalesce(x.target_id, x.id) from (
                select id, target_id, event_id from messages where room_id = r.id and open order by order_number limit ${String(UNSEEN_AT_MOST)}
              ) x where x.event_id = n.event
              limit 1) x on true) as answered,
         (select coalesce(jsonb_agg(jsonb_build_object('room_id', r.id, 'matrix_user_id', u.matrix_user_id, 'standing', ${STANDING})), '[]')
            from jsonb_to_recordset(named.list -> 'mentioning') as n(room text, sender text)
            join rooms r on r.observer_id = :observerId and r.matrix_room_id = n.room and r.deleted_at is null
            join users u on u.tenant_id = :tenantId and u.matrix_user_id = n.sender and u.deleted_at is null
            join memberships s on s.room_id = r.id and s.user_id = u.id and s.desired = 'in') as mentioning,
         (select coalesce(jsonb_agg(to_jsonb(w)), '[]')
            from jsonb_array_elements_text(named.list -> 'all') as n(event_id)
            join jsonb_array_elements_text(named.list -> 'rooms') as named_room(matrix_room_id) on true
            join rooms r on r.observer_id = :observerId and r.matrix_room_id = named_room.matrix_room_id and r.deleted_at is null
            join lateral (
              select w.room_id, w.event_id, w.target_event_id, w.act, w.since from waiting_acts w
               where w.room_id = r.id and w.target_event_id = n.event_id
              union
              select x.room_id, x.event_id, x.target_event_id, x.act, x.since
                from waiting_acts w join waiting_acts x on x.room_id = w.room_id and x.target_event_id = w.event_id
               where w.room_id = r.id and w.target_event_id = n.event_id
               order by since) w on true) as waiting
    from (select cast(:named as jsonb) as list) named`;

/** The rows that events name: the observer's rooms, and the tenant's users and messages. One query. */
export async function findNamed(
  db: Db,
  observer: { tenantId: string; observerId: string },
  named: Named,
): Promise<FoundRows> {
  const { tenantId, observerId } = observer;
  const [row] = await rowsOf<FoundRows>(db, FIND_NAMED, {
    tenantId,
    observerId,
    named: JSON.stringify(named),
  });
  return (
    row ?? { rooms: [], users: [], messages: [], redacted: [], answered: [], mentioning: [], waiting: [] }
  );
}
