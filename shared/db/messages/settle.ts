import { DEFAULT_KIND } from "../../contract/content/index.ts";
import { VIEW_STALE } from "../connection/failures.ts";
import type { Statement } from "../connection/pipelined-transaction.ts";
import { countClosed } from "../rooms/room-mirrors.ts";

/** An event that is a message of ours, as the caller has found. */
export type OwnEvent = { roomId: string; messageId: string; eventId: string };

/** An event that claims to be a message of ours. `content`: what it holds, in our words. The message's row shows whether it is. */
export type ClaimedEvent = OwnEvent & { sender: string; content: Record<string, unknown> };

/**
 * - `seen`: the message is `sent` now, and not open any more.
 * - `known`: it was seen before, by this event.
 * - `duplicate`: the message has another event. This one is to be redacted.
 */
export type SettledMessage = {
  room: string;
  message: string;
  event: string;
  outcome: "seen" | "known" | "duplicate";
  requestId: string | null;
  number: number;
};

/**
 * Settles messages whose events an observer has read, whatever their state: the event may be read before the drain marks the
 * message, or after the message died. An event's id is written once, here or by the homeserver's answer. Each message
 * is named once. `rereading`: the rereading of a room that has met them. Needs no lock of a timeline, and no closed gap.
 * Returns SettledMessage. Requires that each message has a number: VIEW_STALE.
 */
export function settleMessages(events: readonly OwnEvent[], rereading: string | null = null): Statement {
  return settle(
    events.map((event) => ({ ...event, sender: null, content: null })),
    rereading,
  );
}

/** The same for events that claim it. Requires that each is that message by that sender, and not dead: VIEW_STALE. */
export function settleClaimed(events: readonly ClaimedEvent[]): Statement {
  return settle(events, null);
}

type Given = OwnEvent & { sender: string | null; content: Record<string, unknown> | null };

function settle(events: readonly Given[], rereading: string | null): Statement {
  return {
    sql: SETTLE,
    bindings: { events: JSON.stringify(events), rereading, defaultKind: DEFAULT_KIND },
  };
}

// Each row is found by its key, and locked in the order of the keys.
const SETTLE = `
  with given as (
    select * from jsonb_to_recordset(cast(:events as jsonb))
             as g("roomId" uuid, "messageId" uuid, "eventId" text, sender text, content jsonb)
  ), locked as (
    select m.id, m.tenant_id, m.room_id, m.open, m.request_id, m.event_id, g."eventId" as found, e.number,
           case when m.event_id <> g."eventId" then 'duplicate' when m.timeline_number is null then 'seen' else 'known' end as outcome
      from given g
      join messages m on m.id = g."messageId" and m.room_id = g."roomId"
      join users u on u.id = m.sender_id
      join timeline e on e.room_id = m.room_id and e.entry_id = m.id
     where g.sender is null or (u.matrix_user_id = g.sender and m.status <> 'dead' and (m.event_id = g."eventId"
        or jsonb_build_object('kind', cast(:defaultKind as text)) || m.content = g.content))
     order by m.id for update of m
  ), required as (
    select omc_require((select count(*) from locked) = (select count(*) from given), '${VIEW_STALE}') as is_so
  ), seen as (
    update messages m
       set status = 'sent', open = false, event_id = l.found, seen_event_id = l.found, timeline_number = l.number,
           sent_at = coalesce(m.sent_at, now()), error_code = null, error_message = null,
           met_in = coalesce(cast(:rereading as uuid), m.met_in)
      from locked l
     where m.id = l.id and (l.outcome = 'seen' or l.outcome = 'known' and cast(:rereading as uuid) is not null)
  ), closed as (
    select tenant_id, room_id from locked where outcome = 'seen' and open
  ), counted as (${countClosed("closed")})
  select l.room_id as room, l.id as message, l.found as event, l.outcome, l.request_id as "requestId", l.number
    from locked l
   where (select is_so from required)
   order by l.room_id, l.number`;
