import { SURVIVING_ACTS, type ActKind } from "../../contract/content/acts.ts";
import { DEFAULT_KIND } from "../../contract/content/index.ts";
import { VIEW_STALE } from "../connection/failures.ts";
import type { Statement } from "../connection/pipelined-transaction.ts";
import { countClosed } from "../rooms/room-mirrors.ts";

/** An event that is a message of ours, as the caller has found. */
export type OwnEvent = { roomId: string; messageId: string; eventId: string };

/**
 * An event that claims to be a message or an act of ours. It is so when its sender is the one who was to send it, and the row is
 * of one of these kinds and about this event. `targetEventId` null: about any. The text is not compared: an account can only
 * mislead about its own messages.
 */
export type ClaimedEvent = OwnEvent & {
  sender: string;
  kinds: readonly string[];
  targetEventId: string | null;
};

/**
 * - `seen`: the message is `sent` now, and not open any more.
 * - `known`: it was seen before, by this event; or it is an act that redacts, of which every event does the same.
 * - `duplicate`: the message has another event. This one is to be redacted.
 * - `orphan`: as `seen`, and the event is to be redacted: it holds what was deleted here, and no deletion is on its way to it.
 */
export type SettledMessage = {
  room: string;
  message: string;
  event: string;
  outcome: "seen" | "known" | "duplicate" | "orphan";
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
  return { sql: SETTLE, bindings: bindingsOf(events, rereading) };
}

/** The same for events that claim it. Requires that each is that message by that sender, and not dead: VIEW_STALE. */
export function settleClaimed(events: readonly ClaimedEvent[]): Statement {
  return { sql: SETTLE_CLAIMED, bindings: bindingsOf(events, null) };
}

/** Acts whose events redact others. */
const REDACTING: readonly ActKind[] = ["deletion", "unreaction"];

function bindingsOf(events: readonly OwnEvent[], rereading: string | null): Statement["bindings"] {
  return {
    events: JSON.stringify(events),
    rereading,
    defaultKind: DEFAULT_KIND,
    redacting: [...REDACTING],
    surviving: [...SURVIVING_ACTS],
  };
}

// Subqueries, so that what only an act needs is looked up for acts alone.
const SENDER = "(select u.matrix_user_id from users u where u.id = m.sender_id)";
const OBSERVER =
  "(select o.matrix_user_id from rooms r join observers o on o.id = r.observer_id where r.id = m.room_id)";
const TARGET_EVENT = `
  (select coalesce(t.event_id, te.event_id) from timeline te left join messages t on t.id = te.entry_id
    where te.room_id = m.room_id and te.entry_id = m.target_id)`;

/** The row `m` is what `g` claims. The event of its target may not be marked yet: the homeserver has it before we have its answer. */
const IS_CLAIMED = `
  m.status <> 'dead'
  and g.sender = case when m.acts_as = 'observer' or m.content ->> 'kind' = any(:surviving) and g.sender <> ${SENDER}
                      then ${OBSERVER} else ${SENDER} end
  and (m.event_id = g."eventId" or (
       jsonb_exists(g.kinds, coalesce(m.content ->> 'kind', :defaultKind))
       and (g."targetEventId" is null or g."targetEventId" = coalesce(${TARGET_EVENT}, g."targetEventId"))))`;

/** The dead row `m` with the entry `e` was emptied here, and no deletion that waits will redact its event. */
const IS_ORPHAN = `
  m.status = 'dead' and e.redacted_at is not null and not exists (
    select 1 from messages d where d.target_id = coalesce(m.target_id, m.id) and d.open and d.status <> 'sent' and d.content ->> 'kind' = 'deletion')`;

// Each row is found by its key, and locked in the order of the keys.
const settleWhere = (which: string, isOrphan: string) => `
  with given as (
    select * from jsonb_to_recordset(cast(:events as jsonb))
             as g("roomId" uuid, "messageId" uuid, "eventId" text, sender text, kinds jsonb, "targetEventId" text)
  ), locked as (
    select m.id, m.tenant_id, m.room_id, m.open, m.request_id, m.event_id, g."eventId" as found, e.number,
           case when m.event_id <> g."eventId" and not coalesce(m.content ->> 'kind' = any(:redacting), false) then 'duplicate'
                when m.timeline_number is not null then 'known' when ${isOrphan} then 'orphan' else 'seen' end as outcome
      from given g
      join messages m on m.id = g."messageId" and m.room_id = g."roomId"
      join timeline e on e.room_id = m.room_id and e.entry_id = m.id
     where ${which}
     order by m.id for update of m
  ), required as (
    select omc_require((select count(*) from locked) = (select count(*) from given), '${VIEW_STALE}') as is_so
  ), seen as (
    update messages m
       set status = 'sent', open = false, event_id = coalesce(m.event_id, l.found), seen_event_id = l.found, timeline_number = l.number,
           sent_at = coalesce(m.sent_at, now()), error_code = null, error_message = null,
           met_in = coalesce(cast(:rereading as uuid), m.met_in)
      from locked l
     where m.id = l.id and (l.outcome = any('{seen,orphan}') or l.outcome = 'known' and cast(:rereading as uuid) is not null)
  ), closed as (
    select tenant_id, room_id from locked where outcome = any('{seen,orphan}') and open
  ), counted as (${countClosed("closed")})
  select l.room_id as room, l.id as message, l.found as event, l.outcome, l.request_id as "requestId", l.number
    from locked l
   where (select is_so from required)
   order by l.room_id, l.number`;

const SETTLE = settleWhere("true", IS_ORPHAN);
// What is dead is looked up first.
const SETTLE_CLAIMED = settleWhere(IS_CLAIMED, "false");
