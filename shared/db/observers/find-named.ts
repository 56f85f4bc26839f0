import type { MessageStatus } from "../../contract/resources.ts";
import { rowsOf, type Db } from "../connection/open.ts";
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
};

/** A message of ours that an event is, or claims to be. */
export type MarkedMessage = {
  id: string;
  room_id: string;
  sender_id: string;
  sender_matrix_id: string;
  client_id: string | null;
  /** As the row keeps it: see `parseContent`. */
  content: Record<string, unknown>;
  accepted_at: Date;
  /** Its number in the timeline; null for one that a process of version 0.2 accepted and that is not numbered yet. */
  number: number | null;
  event_id: string | null;
  status: MessageStatus;
};

export type FoundRows = {
  rooms: ObservedRoom[];
  users: { id: string; matrix_user_id: string }[];
  messages: MarkedMessage[];
  /** Those redacted events that are messages, by event id. */
  redacted: string[];
};

/** Of a room's open messages, those that may be sent and not seen stand first. */
const UNSEEN_AT_MOST = 1_000;

// Lists come as JSON: for a list of parameters Postgres makes a new plan each time, which every message would wait for.
const FIND_NAMED = `
  select (select coalesce(jsonb_agg(jsonb_build_object('id', r.id, 'matrix_room_id', r.matrix_room_id, 'gap_from', t.gap_from)), '[]')
            from jsonb_array_elements_text(named.list -> 'rooms') as n(matrix_room_id)
            join rooms r on r.observer_id = :observerId and r.matrix_room_id = n.matrix_room_id and r.deleted_at is null
            join room_timeline t on t.room_id = r.id) as rooms,
         (select coalesce(jsonb_agg(jsonb_build_object('id', u.id, 'matrix_user_id', u.matrix_user_id)), '[]')
            from jsonb_array_elements_text(named.list -> 'people') as n(matrix_user_id)
            join users u on u.tenant_id = :tenantId and u.matrix_user_id = n.matrix_user_id) as users,
         (select coalesce(jsonb_agg(jsonb_build_object(
                   'id', m.id, 'room_id', m.room_id, 'sender_id', m.sender_id, 'sender_matrix_id', u.matrix_user_id,
                   'client_id', m.client_id, 'content', m.content, 'accepted_at', m.accepted_at,
                   'number', e.number, 'event_id', m.event_id, 'status', m.status)), '[]')
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
            join users u on u.id = m.sender_id
            left join timeline e on e.room_id = m.room_id and e.entry_id = m.id) as messages,
         (select coalesce(jsonb_agg(n.event_id), '[]')
            from jsonb_array_elements_text(named.list -> 'redacted') as n(event_id)
            join jsonb_array_elements_text(named.list -> 'rooms') as named_room(matrix_room_id) on true
            join rooms r on r.observer_id = :observerId and r.matrix_room_id = named_room.matrix_room_id and r.deleted_at is null
           where exists (select 1 from timeline e where e.room_id = r.id and e.event_id = n.event_id)
              or exists (select 1 from messages m where m.room_id = r.id and m.seen_event_id = n.event_id)
              or exists (select 1 from messages m where m.room_id = r.id and m.open and m.event_id = n.event_id)) as redacted
    from (select cast(:named as jsonb) as list) named`;

/** The rows that events name: the observer's rooms, and the tenant's users and messages. One query. */
export async function findNamed(
  db: Db,
  observer: { tenantId: string; observerId: string },
  named: Named,
): Promise<FoundRows> {
  type Row = Omit<FoundRows, "messages"> & {
    messages: (Omit<MarkedMessage, "accepted_at"> & { accepted_at: string })[];
  };
  const { tenantId, observerId } = observer;
  const [row] = await rowsOf<Row>(db, FIND_NAMED, { tenantId, observerId, named: JSON.stringify(named) });
  const { rooms = [], users = [], messages = [], redacted = [] } = row ?? {};
  return {
    rooms,
    users,
    redacted,
    messages: messages.map((message) => ({ ...message, accepted_at: new Date(message.accepted_at) })),
  };
}
