import { execute, rowsOf, type Db } from "../connection/open.ts";
import type { TimelinePosition } from "../timeline/pages.ts";

/** How long a lease lasts without being renewed; a dead holder is taken over after it. */
export const LEASE_MS = 6_000;

/** A message to be sent, with what its sender still needs on Matrix. */
export type ClaimedMessage = {
  id: string;
  request_id: string | null;
  order_number: number;
  /** As the row keeps it: see `parseContent`. */
  content: Record<string, unknown>;
  /** Age in milliseconds by the database's clock. */
  age_ms: number;
  attempts: number;
  /** Whether somebody claimed it before, and may have sent it. */
  was_sending: boolean;
  sender_id: string;
  sender_matrix_id: string;
  sender_is_registered: boolean;
  sender_is_wanted: boolean;
  sender_is_joined: boolean;
};

/** What is claimed, the room's last order number at that moment, and whether other work waits for the room's lease. */
export type Claim = { lastOrder: number; messages: ClaimedMessage[]; isWanted: boolean };

/** False when somebody else has it now. */
export async function renewRoomLease(db: Db, roomId: string, fence: string): Promise<boolean> {
  const rows = await rowsOf(
    db,
    `update room_outbox set lease_until = now() + ? * interval '1 millisecond'
      where room_id = ? and fence = ? and lease_until > now() returning 1 as renewed`,
    [LEASE_MS, roomId, fence],
  );
  return rows.length > 0;
}

/**
 * Work that is due in a room whose lease was given back, and would be done: nothing of a paused tenant, no members of a
 * deleted room. `isMarked`: the lease was still held, and what was sent is marked.
 */
export type DueWork = { messages: boolean; members: boolean; room: boolean; isMarked: boolean };

/**
 * Gives the right back, marks what was sent last, and tells what is still due in the room. `settledOrder`: every message
 * up to it is settled, so that nothing is due unless more was accepted since; null, or a lease that has ended, leaves the room's due time as it
 * is.
 */
export async function releaseRoomLease(
  db: Db,
  roomId: string,
  fence: string,
  settledOrder: number | null,
  sent: readonly SentMessage[] = [],
): Promise<DueWork> {
  const rows = await rowsOf<DueWork>(
    db,
    `with mine as (${HELD}), marked as (${MARK}),
     settled as (select cast(:settled as bigint) as up_to where exists (select 1 from mine))
     update room_outbox o
        set fence = null, lease_until = null,
            attempts = case when s.up_to is null then o.attempts else 0 end,
            next_attempt_at = case when s.up_to is null then o.next_attempt_at when o.last_order > s.up_to then now() end
       from rooms r join tenants t on t.id = r.tenant_id left join settled s on true
      where o.room_id = :roomId and o.fence = :fence and r.id = o.room_id
     returning t.status = 'active' and coalesce(o.next_attempt_at <= now(), false) as messages,
               t.status = 'active' and coalesce(r.members_next_attempt_at <= now() and r.deleted_at is null, false) as members,
               t.status = 'active' and coalesce(r.next_attempt_at <= now(), false) as room,
               exists (select 1 from mine) as "isMarked"`,
    { roomId, fence, settled: settledOrder, ...sentColumns(sent) },
  );
  return rows[0] ?? { messages: false, members: false, room: false, isMarked: false };
}

// The lease of `:fence`, locked: it stays held until the statement ends.
const HELD = `
  select 1 from room_outbox where room_id = :roomId and fence = :fence and lease_until > now() for update`;

const MARK = `
  update messages m set status = 'sent', event_id = s.event_id, sent_at = now()
    from unnest(cast(:ids as uuid[]), cast(:eventIds as text[])) as s(id, event_id), mine
   where m.id = s.id and m.status <> 'dead'`;

function sentColumns(sent: readonly SentMessage[]): { ids: string[]; eventIds: string[] } {
  return { ids: sent.map(({ id }) => id), eventIds: sent.map(({ eventId }) => eventId) };
}

/** Marks a batch, as `batch` names it by ids and former states, as being sent; reads it as `claimed`. */
export const CLAIM_BATCH = `
  update messages m set status = 'sending' from batch where m.id = batch.id
  returning m.id, batch.status = 'sending' as was_sending, m.request_id, m.order_number, m.content, m.accepted_at, m.attempts, m.sender_id, m.room_id`;

/** What was claimed as a JSON array of ClaimedMessage, oldest first. */
export const SELECT_CLAIMED = `
  select coalesce(jsonb_agg(jsonb_build_object(
           'id', c.id, 'request_id', c.request_id, 'order_number', c.order_number, 'content', c.content,
           'age_ms', extract(epoch from now() - c.accepted_at) * 1000, 'attempts', c.attempts, 'was_sending', c.was_sending, 'sender_id', c.sender_id,
           'sender_matrix_id', u.matrix_user_id,
           'sender_is_registered', u.applied_version > 0,
           'sender_is_wanted', u.deleted_at is null and coalesce(s.desired = 'in', false),
           'sender_is_joined', coalesce(s.applied = 'in', false)
         ) order by c.order_number), '[]'::jsonb)
    from claimed c
    join users u on u.id = c.sender_id
    left join memberships s on s.room_id = c.room_id and s.user_id = c.sender_id`;

/**
 * Marks what was sent, and the oldest unsent messages of a room after an order number as being sent; reads these, oldest
 * first. Null when the lease is gone: then nothing was changed.
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
): Promise<Claim | null> {
  const rows = await rowsOf<{
    last_order: number | null;
    messages: ClaimedMessage[];
    is_wanted: boolean | null;
  }>(
    db,
    `with mine as (${HELD}), marked as (${MARK}), batch as (
       select m.id, m.status from messages m, mine
        where m.room_id = :roomId and m.open and m.status in ('queued', 'sending') and m.order_number > :afterOrder
        order by m.order_number limit :limit for update of m
     ), claimed as (${CLAIM_BATCH})
     -- As this statement's snapshot has it, like the messages: the locked row may be newer.
     select (select o.last_order from room_outbox o, mine where o.room_id = :roomId) as last_order,
            (select least(r.members_next_attempt_at, r.next_attempt_at) <= now() from rooms r where r.id = :roomId) as is_wanted,
            (${SELECT_CLAIMED}) as messages`,
    { roomId, fence, afterOrder, limit, ...sentColumns(sent) },
  );
  const { last_order: lastOrder = null, messages = [], is_wanted: isWanted = false } = rows[0] ?? {};
  return lastOrder === null ? null : { lastOrder, messages, isWanted: isWanted ?? false };
}

export type SentMessage = { id: string; eventId: string };

/**
 * Ends a batch early: marks what was sent, and gives back what nobody has tried to send (`untried`), which is queued
 * again. Changes nothing when the lease is gone. Returns whether it was still held.
 */
export async function endBatch(
  db: Db,
  roomId: string,
  fence: string,
  { sent, untried }: { sent: readonly SentMessage[]; untried: readonly string[] },
): Promise<boolean> {
  const rows = await rowsOf<{ held: boolean }>(
    db,
    `with mine as (${HELD}), marked as (${MARK}), given_back as (
       update messages m set status = 'queued' from mine where m.id = any(:untried) and m.status = 'sending'
     ) select exists (select 1 from mine) as held`,
    { roomId, fence, untried: [...untried], ...sentColumns(sent) },
  );
  return rows[0]?.held ?? false;
}

/**
 * Ends a message for good, with a reason people can read. Answers where its room's timeline stood; null when the lease is
 * gone: then nothing was changed.
 */
export async function markDead(
  db: Db,
  roomId: string,
  fence: string,
  message: { id: string; code: string; reason: string },
): Promise<TimelinePosition | null> {
  const rows = await rowsOf<TimelinePosition>(
    db,
    `with dead as (
       update messages set status = 'dead', open = false, error_code = :code, error_message = :reason
        where id = :id and open
          and exists (select 1 from room_outbox where room_id = :roomId and fence = :fence and lease_until > now())
       returning room_id
     )
     select t.epoch, t.last_number as "lastNumber" from dead join room_timeline t using (room_id)`,
    { roomId, fence, ...message },
  );
  return rows[0] ?? null;
}

/** The room's messages wait: after an expected failure, or for a full time slice (delay 0). Returns the due time. */
export async function rescheduleOutbox(
  db: Db,
  roomId: string,
  fence: string,
  { delayMs, failed }: { delayMs: number; failed: boolean },
): Promise<void> {
  await execute(
    db,
    `update room_outbox set next_attempt_at = now() + ? * interval '1 millisecond', attempts = case when ? then attempts + 1 else 0 end
      where room_id = ? and fence = ?`,
    [delayMs, failed, roomId, fence],
  );
}

/** Records a failed try, for operators; a refusal counts against the message. */
export async function recordAttempt(
  db: Db,
  attempt: { id: string; tenantId: string; messageId: string; failure: string; detail: string },
): Promise<void> {
  await execute(
    db,
    `with counted as (update messages set attempts = attempts + 1 where id = :messageId and :failure = 'forbidden')
     insert into delivery_attempts (id, tenant_id, message_id, failure, detail)
     values (:id, :tenantId, :messageId, :failure, :detail)`,
    attempt,
  );
}
