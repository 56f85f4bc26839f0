import { SURVIVING_ACTS, type ActKind } from "../../contract/content/acts.ts";
import { rowsOf, type Db } from "../connection/open.ts";
import { countReopened } from "../rooms/room-mirrors.ts";
import { appendUnderLease } from "../timeline/append-under-lease.ts";
import { SELECT_APPENDED, type AppendedRow } from "../timeline/append.ts";
import { appendStatus, STATUS_BINDINGS } from "./status-entries.ts";

/** A message or an act that a homeserver accepted. `open`: no observer has read its event. */
export type SentRow = { id: string; event_id: string; order_number: number; open: boolean; is_act: boolean };

/**
 * The row `m` still has an effect here. A reaction that its person has removed since has none: on Matrix it would stay.
 */
export const IS_EFFECTIVE = `
  (m.target_id is null or m.content ->> 'kind' <> '${"reaction" satisfies ActKind}' or exists (
     select 1 from reactions x where x.room_id = m.room_id and x.message_id = m.target_id and x.key = m.content ->> 'key' and x.person = m.sender_id))`;

/** The unseen messages of a room after an order number, oldest first. */
export function listUnseenMessages(
  db: Db,
  roomId: string,
  { afterOrder, limit }: { afterOrder: number; limit: number },
): Promise<SentRow[]> {
  return rowsOf<SentRow>(
    db,
    `select m.id, m.event_id, m.order_number, m.open, m.target_id is not null as is_act from messages m
      where m.room_id = ? and m.open and m.status = 'sent' and m.event_id is not null and m.order_number > ? and ${IS_EFFECTIVE}
      order by m.order_number limit ?`,
    [roomId, afterOrder, limit],
  );
}

/** Entries of a timeline that one query looks through. */
const ENTRIES_AT_ONCE = 2_000;

/** Which messages a search is about. */
export type Unmet = {
  /** Those that this rereading has met are left out; null: none. */
  rereading: string | null;
  /** Those that were sent earlier are left out: they are in a former Matrix room. */
  sentSince: Date;
  /** Those that were accepted earlier, or later, are left out. */
  acceptedSince: Date | null;
  acceptedUntil: Date | null;
};

/**
 * Of the entries after a number, 2,000 at most: the messages that are sent and that a rereading has not met, seen ones too,
 * without deleted ones, and without seen ones of people who are not in the room any more, but for what the observer carries out
 * for them. `next`: the number to go on after, null at the timeline's end.
 */
export async function listUnmetMessages(
  db: Db,
  roomId: string,
  { rereading, sentSince, acceptedSince, acceptedUntil }: Unmet,
  after: number,
): Promise<{ messages: SentRow[]; next: number | null }> {
  const upTo = after + ENTRIES_AT_ONCE;
  const rows = await rowsOf<(SentRow | { id: null }) & { last_number: number }>(
    db,
    `select m.id, m.event_id, m.order_number, m.open, t.last_number
       from room_timeline t
       left join (
         select m.id, coalesce(m.event_id, e.event_id) as event_id, m.order_number, m.open, m.target_id is not null as is_act, e.number
           from timeline e join messages m on m.id = e.entry_id
          where e.room_id = :roomId and e.number > :after and e.number <= :upTo and e.redacted_at is null
            and m.status = 'sent' and m.sent_at >= :sentSince and ${IS_EFFECTIVE}
            and (m.open or m.content ->> 'kind' = any(:surviving) or exists (select 1 from memberships s
                                    where s.room_id = m.room_id and s.user_id = m.sender_id and s.desired = 'in'))
            and (cast(:rereading as uuid) is null or m.met_in is distinct from cast(:rereading as uuid))
            and m.accepted_at >= coalesce(cast(:acceptedSince as timestamptz), '-infinity')
            and m.accepted_at <= coalesce(cast(:acceptedUntil as timestamptz), 'infinity')
       ) m on m.event_id is not null
      where t.room_id = :roomId
      order by m.number`,
    {
      roomId,
      rereading,
      sentSince,
      acceptedSince,
      acceptedUntil,
      after,
      upTo,
      surviving: [...SURVIVING_ACTS],
    },
  );
  const messages = rows.flatMap(({ last_number: _, ...row }) => (row.id === null ? [] : [row]));
  return { messages, next: upTo < (rows[0]?.last_number ?? 0) ? upTo : null };
}

/** Nothing is queued in a room that is deleted. Its deletion holds the lock that the lease holds too. */
export const ROOM_EXISTS = "exists (select 1 from rooms r where r.id = :roomId and r.deleted_at is null)";

// A message that was listed as unseen and is seen by now is not missing.
const REQUEUE = `
  with locked as (
    select m.id, m.tenant_id, m.room_id, m.open
      from unnest(cast(:ids as uuid[]), cast(:eventIds as text[]), cast(:open as boolean[])) as f(id, event_id, open)
      join messages m on m.id = f.id and m.room_id = :roomId and m.open = f.open
      left join timeline e on e.room_id = m.room_id and e.entry_id = m.id
     where m.status = 'sent' and coalesce(m.event_id, e.event_id) = f.event_id and ${ROOM_EXISTS}
     order by m.id for update of m
  ), again as (
    update messages m set status = 'queued', open = true, replayed = true, event_id = null, seen_event_id = null, timeline_number = null, sent_at = null, met_in = null
      from locked l where m.id = l.id
    returning m.id, m.room_id, m.order_number, m.target_id, m.content ->> 'kind' as kind
  ), closed as (
    select tenant_id, room_id from locked where not open
  ), reopened as (${countReopened("closed")}), due as (
    update room_outbox set next_attempt_at = coalesce(next_attempt_at, now())
     where room_id = :roomId and exists (select 1 from again)
  ), ${appendStatus("message.requeued", "again", "jsonb_build_object()")}
  ${SELECT_APPENDED}`;

/**
 * Queues sent messages again under their room's lease, with an entry `message.requeued` for each, and makes the room due.
 * They keep their order. One whose row is not as it was listed stays as it is. Returns what was appended; null when the lease
 * has ended: then nothing is changed.
 */
export function requeueMessages(
  db: Db,
  roomId: string,
  fence: string,
  messages: readonly SentRow[],
): Promise<AppendedRow[] | null> {
  const bindings = {
    roomId,
    ids: messages.map(({ id }) => id),
    eventIds: messages.map(({ event_id: eventId }) => eventId),
    open: messages.map(({ open }) => open),
    ...STATUS_BINDINGS,
  };
  return appendUnderLease(db, roomId, fence, [{ sql: REQUEUE, bindings }]);
}
