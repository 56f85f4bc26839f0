import { DEFAULT_KIND, ENTRY_TYPES, UNREAD_ENTRY_TYPES } from "../../shared/contract/content/index.ts";
import type { Statement } from "../../shared/db/connection/pipelined-transaction.ts";
import { VIEW_STALE } from "../../shared/db/connection/failures.ts";
import { appendOffered, IS_NEW } from "../../shared/db/timeline/append.ts";
import { CONTENT_EVENT_TYPES } from "../matrix/content/index.ts";
import { readMarker } from "../matrix/marker.ts";
import type { Offered } from "./look-up.ts";

/** What seems to be a message of ours that Matrix shows: whether it is one, its row says. */
export type OwnEvent = { roomId: string; messageId: string; eventId: string; sender: string };

/**
 * The events of an answer when each seems to be another message of ours, in a room that is known: the usual answer, which
 * is saved without a look at the tables. Null for any other. `known`: row ids by Matrix id.
 */
export function readOwnEvents(
  rooms: readonly Offered[],
  known: ReadonlyMap<string, string>,
): OwnEvent[] | null {
  const own: OwnEvent[] = [];
  for (const { matrixRoomId, events } of rooms) {
    const roomId = known.get(matrixRoomId);
    if (roomId === undefined) return null;
    for (const event of events) {
      const messageId = CONTENT_EVENT_TYPES.includes(event.type) ? readMarker(event) : null;
      if (messageId === null || event.state_key !== undefined) return null;
      own.push({ roomId, messageId, eventId: event.event_id, sender: event.sender });
    }
  }
  const isEachOnce = new Set(own.map(({ messageId }) => messageId)).size === own.length;
  return own.length > 0 && isEachOnce ? own : null;
}

/**
 * Appends messages of ours by what their rows say, oldest first, where the rooms' timelines are locked already, and
 * requires of each that it is one, by room and sender, and not in its timeline yet: VIEW_STALE. Answers AppendedRow.
 */
export function appendOwn(own: readonly OwnEvent[]): Statement {
  const rows = own.map((event, position) => ({ ...event, position }));
  return {
    sql: APPEND_OWN,
    bindings: {
      rows: JSON.stringify(rows),
      unread: [...UNREAD_ENTRY_TYPES],
      entryTypes: JSON.stringify(ENTRY_TYPES),
      defaultKind: DEFAULT_KIND,
    },
  };
}

// Each row is looked up by itself, by its key: joined, the plan that Postgres keeps reads the whole table.
const APPEND_OWN = appendOffered(`
  select o.*, row_number() over (partition by o.room_id order by o.position) as place
    from (select s."roomId" as room_id, s.position, m.id as entry_id, s."eventId" as event_id, 
                 cast(:entryTypes as jsonb) ->> coalesce(m.content ->> 'kind', :defaultKind) as type,
                 m.sender_id, cast(null as text) as sender_name, m.client_id,
                 m.content, m.accepted_at as at
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
