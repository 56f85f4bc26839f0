import type { MessageStatus } from "../../contract/resources.ts";
import { execute, rowsOf, type Db } from "../connection/open.ts";
import { transactPipelined } from "../connection/pipelined-transaction.ts";
import { LOCK_ROOM_LEASE } from "../lease.ts";
import { countClosed } from "../rooms/room-mirrors.ts";

/**
 * The outbox: messages, and acts on messages, on their way to Matrix. An act has a `target_id`, the message that it is about; what
 * holds of messages below holds of acts too. `open` means that the message is neither dead nor seen by an observer. A room's
 * `room_outbox` row has the last order number, the due time (null when nothing waits), since when its first message fails
 * (`failing_since`, moved by the time that does not count) and the lease.
 *
 * - new → queued: `acceptMessages`, by the api. The message gets its room's next order number.
 * - queued → sending: `acquireRoomLease` and `claimMessages`, by the drain of the room, under the lease. A message that
 *   is `sending` may be on Matrix: after a crash, the next drain sends it again under the same transaction id.
 * - sending → queued: `endBatch`, for what the drain claimed and did not try.
 * - sending → sent: `claimMessages`, `endBatch` and `releaseRoomLease`, with the event's id, under the lease; `finishWithoutEvent`
 *   for an act that makes no event: it also ends `open`.
 * - queued, sending, dead → sent: the observer, when it reads the event itself. It also ends `open`.
 * - sent → queued: `requeueMessages`, when the homeserver does not have the event any more.
 * - dead → queued: `replayMessages`, when an operator or the sender asks for it. `replayed` says of both that Matrix may have it
 *   although it is queued.
 * - queued, sending, sent → dead: `dead-messages.ts`, which says when.
 *
 * `event_id` is written once, by the homeserver's answer or by the observer: another event of the message is a duplicate, which is
 * to be redacted. Only requeueing clears it. What marks or settles several messages locks them in the order of their ids.
 */

/** Who carries a message or an act out on Matrix. */
export type ActsAs = "sender" | "observer";

/** The message that another one or an act refers to. `event_id` is null where Matrix has none, or none that is marked yet. */
export type ReferredMessage = {
  id: string;
  event_id: string | null;
  /** Null for a message of Matrix. */
  status: MessageStatus | null;
  is_deleted: boolean;
  /** The event that began the thread which a message continues; null for none. */
  thread_event_id: string | null;
  /** Whom the message mentioned before an edit; null for nobody, and for what is no edit with mentions. */
  former_mentions: { users: string[]; room: boolean } | null;
};

/** A claimed message or act, with what its sender still needs on Matrix. */
export type ClaimedMessage = {
  id: string;
  request_id: string | null;
  order_number: number;
  /** As the row keeps it: see `parseContent` and `parseAct`. */
  content: Record<string, unknown>;
  /** The message that an act is about; null for a message. */
  target_id: string | null;
  acts_as: ActsAs;
  /** It was sent or dead before. */
  replayed: boolean;
  /** The message that an act is about, or that a message answers; null for none. */
  refers_to: ReferredMessage | null;
  /** When it was accepted, in milliseconds since 1970, and its age, by the database's clock. */
  accepted_at_ms: number;
  age_ms: number;
  attempts: number;
  /** Whether an earlier drain claimed it: it may be sent already. */
  was_sending: boolean;
  /** Both null for the product itself, as which the observer acts. */
  sender_id: string | null;
  sender_matrix_id: string | null;
  sender_is_registered: boolean;
  sender_is_wanted: boolean;
  sender_is_joined: boolean;
};

/** Claimed messages, the room's last order number at that moment, and whether other work waits for the room's lease. */
export type Claim = { lastOrder: number; messages: ClaimedMessage[]; isWanted: boolean };

/** Events of messages that had another event already: they are to be redacted. */
export type Duplicates = { duplicates: string[] };

/**
 * CTEs that mark the messages of `sentColumns` sent, where `mine` (LOCK_ROOM_LEASE) has a row. A message that an observer has
 * seen meanwhile, or that is dead, stays as it is.
 */
export const MARK_SENT = `
  answered as (
    select m.id, m.status, m.event_id, s.event_id as answer
      from unnest(cast(:ids as uuid[]), cast(:eventIds as text[])) as s(id, event_id) cross join mine join messages m on m.id = s.id
     order by m.id for update of m
  ), marked as (
    update messages m set status = 'sent', event_id = coalesce(m.event_id, a.answer), sent_at = now()
      from answered a where m.id = a.id and a.status not in ('sent', 'dead')
  )`;

/** The duplicates that MARK_SENT found, as a JSON array. */
export const SELECT_DUPLICATES =
  "select coalesce(jsonb_agg(answer), '[]'::jsonb) from answered where event_id <> answer";

/** The bindings of `MARK_SENT`. */
export function sentColumns(sent: readonly SentMessage[]): { ids: string[]; eventIds: string[] } {
  const marked = sent.flatMap(({ id, eventId }) => (eventId === null ? [] : [{ id, eventId }]));
  return { ids: marked.map(({ id }) => id), eventIds: marked.map(({ eventId }) => eventId) };
}

/** Marks the messages of `batch` (id, status) as being sent. The result is what `claimed` stands for in SELECT_CLAIMED. */
export const CLAIM_BATCH = `
  update messages m set status = 'sending' from batch where m.id = batch.id
  returning m.id, batch.status = 'sending' as was_sending, m.request_id, m.order_number, m.content, m.accepted_at, m.attempts, m.sender_id, m.room_id,
            m.target_id, m.acts_as, m.replayed`;

/** The event of the message `id` in the room of `c`. */
const eventOf = (id: string) => `
  (select coalesce(x.event_id, y.event_id) from timeline y left join messages x on x.id = y.entry_id
    where y.room_id = c.room_id and y.entry_id = cast(${id} as uuid))`;

/** Whom the message mentioned before the edit `c`: the newest edit before it says so, else the message `e`. */
const FORMER_MENTIONS = `
  coalesce((select v.content -> 'mentions' from timeline w join timeline v
                on v.room_id = w.room_id and v.relates_to = w.relates_to and v.type = w.type and v.number < w.number and v.redacted_at is null
             where w.room_id = c.room_id and w.entry_id = c.id order by v.number desc limit 1), e.content -> 'mentions')`;

/** The message that `c` refers to, looked for only where there is one. */
const REFERRED = `
  case when c.target_id is not null or c.content ->> 'replyTo' is not null then (
    select jsonb_build_object('id', e.entry_id, 'event_id', coalesce(t.event_id, e.event_id), 'status', t.status,
             'is_deleted', e.redacted_at is not null,
             'thread_event_id', case when c.content ->> 'thread' is not null then ${eventOf("c.content ->> 'thread'")} end,
             'former_mentions', case when c.content ->> 'kind' = 'edit' and c.content ->> 'mentions' is not null then ${FORMER_MENTIONS} end)
      from timeline e left join messages t on t.id = e.entry_id
     where e.room_id = c.room_id and e.entry_id = coalesce(c.target_id, cast(c.content ->> 'replyTo' as uuid))
  ) end`;

/** The claimed messages as a JSON array of ClaimedMessage, oldest first. */
export const SELECT_CLAIMED = `
  select coalesce(json_agg(one), '[]'::json) from (
    select c.id, c.request_id, c.order_number, c.content, floor(extract(epoch from c.accepted_at) * 1000) as accepted_at_ms,
           extract(epoch from now() - c.accepted_at) * 1000 as age_ms, c.attempts, c.was_sending, c.sender_id,
           u.matrix_user_id as sender_matrix_id, coalesce(u.applied_version > 0, false) as sender_is_registered,
           u.id is not null and u.deleted_at is null and coalesce(s.desired = 'in', false) as sender_is_wanted,
           coalesce(s.applied = 'in', false) as sender_is_joined, c.target_id, c.acts_as, c.replayed, ${REFERRED} as refers_to
      from claimed c
      left join users u on u.id = c.sender_id
      left join memberships s on s.room_id = c.room_id and s.user_id = c.sender_id
     order by c.order_number) one`;

/**
 * Marks messages sent, and claims the oldest unsent messages of the room after an order number. Returns null when the
 * lease has ended: then nothing is changed.
 */
export async function claimMessages(
  db: Db,
  roomId: string,
  {
    fence,
    sent = [],
    afterOrder,
    limit,
  }: { fence: string; sent?: readonly SentMessage[]; afterOrder: number; limit: number },
): Promise<(Claim & Duplicates) | null> {
  const bindings = { roomId, fence, afterOrder, limit, ...sentColumns(sent) };
  // Where a crash of Postgres undoes it, the messages are sent again under their transaction ids, and keep their events.
  const [rows] = await transactPipelined<[ClaimRow[]]>(db, [{ sql: CLAIM, bindings }], { mayBeLost: true });
  const { last_order: lastOrder = null, messages = [], is_wanted: isWanted, duplicates = [] } = rows[0] ?? {};
  return lastOrder === null ? null : { lastOrder, messages, isWanted: isWanted ?? false, duplicates };
}

type ClaimRow = {
  last_order: number | null;
  messages: ClaimedMessage[];
  is_wanted: boolean | null;
  duplicates: string[];
};

const CLAIM = `
  with mine as (${LOCK_ROOM_LEASE}), ${MARK_SENT}, batch as (
    select m.id, m.status from messages m, mine
     where m.room_id = :roomId and m.open and m.status in ('queued', 'sending') and m.order_number > :afterOrder
     order by m.order_number limit :limit for update of m
  ), claimed as (${CLAIM_BATCH})
  -- From this statement's snapshot, like the messages: the locked row may be newer.
  select (select o.last_order from room_outbox o, mine where o.room_id = :roomId) as last_order,
         (select least(r.members_next_attempt_at, r.next_attempt_at) <= now() from rooms r where r.id = :roomId) as is_wanted,
         (${SELECT_CLAIMED}) as messages, (${SELECT_DUPLICATES}) as duplicates`;

/** What the homeserver has taken. `eventId` is null for an act that makes no event: `finishWithoutEvent` has marked it. */
export type SentMessage = { id: string; eventId: string | null };

/**
 * Marks an act sent that makes no event on Matrix, and closes it: no observer will see one. Returns false when the lease has
 * ended: then nothing is changed.
 */
export async function finishWithoutEvent(
  db: Db,
  roomId: string,
  fence: string,
  id: string,
): Promise<boolean> {
  const rows = await rowsOf(
    db,
    `with mine as (${LOCK_ROOM_LEASE}), finished as (
       update messages m set status = 'sent', open = false, sent_at = now() from mine where m.id = :id and m.open
       returning m.tenant_id, m.room_id
     ), counted as (${countClosed("finished")})
     select 1 as is_held from mine`,
    { roomId, fence, id },
  );
  return rows.length > 0;
}

/**
 * Ends a batch before its end: marks messages sent, and queues those again that were not tried. Returns null when the
 * lease has ended: then nothing is changed.
 */
export async function endBatch(
  db: Db,
  roomId: string,
  fence: string,
  { sent, untried }: { sent: readonly SentMessage[]; untried: readonly string[] },
): Promise<Duplicates | null> {
  const rows = await rowsOf<Duplicates>(
    db,
    `with mine as (${LOCK_ROOM_LEASE}), ${MARK_SENT}, unclaimed as (
       update messages m set status = 'queued' from mine where m.id = any(:untried) and m.status = 'sending'
     ) select (${SELECT_DUPLICATES}) as duplicates from mine`,
    { roomId, fence, untried: [...untried], ...sentColumns(sent) },
  );
  return rows[0] ?? null;
}

/** Makes the room's messages due at once, under its lease: at the end of a time slice, or after a message that is dead. */
export async function makeOutboxDue(db: Db, roomId: string, fence: string): Promise<void> {
  await execute(
    db,
    "update room_outbox set next_attempt_at = now(), attempts = 0, failing_since = null where room_id = ? and fence = ?",
    [roomId, fence],
  );
}

/**
 * Makes the room's messages due after `delayMs`, under its lease, since its first message failed. `isAttempt`: it counts as one.
 * `failingMs`: for how long the message has failed, of the time that counts; null leaves that as it was.
 */
export async function rescheduleOutbox(
  db: Db,
  roomId: string,
  fence: string,
  failed: { delayMs: number; isAttempt: boolean; failingMs: number | null },
): Promise<void> {
  await execute(
    db,
    `update room_outbox
        set next_attempt_at = now() + :delayMs * interval '1 millisecond',
            attempts = case when cast(:isAttempt as boolean) then attempts + 1 else 0 end,
            failing_since = coalesce(now() - cast(:failingMs as double precision) * interval '1 millisecond', failing_since)
      where room_id = :roomId and fence = :fence`,
    { roomId, fence, ...failed },
  );
}
