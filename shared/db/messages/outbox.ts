import { execute, rowsOf, type Db } from "../connection/open.ts";
import { LOCK_ROOM_LEASE } from "../lease.ts";

/**
 * The outbox: messages on their way to Matrix. `open` means that the message is neither dead nor in its timeline. A room's
 * `room_outbox` row has the last order number, the due time (null when nothing waits) and the lease.
 *
 * - new → queued: `acceptMessages`, by the api. The message gets its room's next order number.
 * - queued → sending: `acquireRoomLease` and `claimMessages`, by the drain of the room, under the lease. A message that
 *   is `sending` may be on Matrix: after a crash, the next drain sends it again under the same transaction id.
 * - sending → queued: `endBatch`, for what the drain claimed and did not try.
 * - sending → sent: `claimMessages`, `endBatch` and `releaseRoomLease`, with the event's id, under the lease.
 * - queued, sending, dead → sent: the sync, when the event itself arrives from Matrix. It also ends `open`.
 * - sent → queued: `requeueMessages`, when the homeserver does not have the event any more.
 * - dead → queued: `replayMessages`, when an operator asks for it.
 * - queued, sending, sent → dead: `dead-messages.ts`, which says when.
 */

/** A claimed message, with what its sender still needs on Matrix. */
export type ClaimedMessage = {
  id: string;
  request_id: string | null;
  order_number: number;
  /** As the row keeps it: see `parseContent`. */
  content: Record<string, unknown>;
  /** Age in milliseconds by the database's clock. */
  age_ms: number;
  attempts: number;
  /** Whether an earlier drain claimed it: it may be sent already. */
  was_sending: boolean;
  /** False for one that a process of version 0.2 accepted: it is not sent before it has a number. */
  is_numbered: boolean;
  sender_id: string;
  sender_matrix_id: string;
  sender_is_registered: boolean;
  sender_is_wanted: boolean;
  sender_is_joined: boolean;
};

/** Claimed messages, the room's last order number at that moment, and whether other work waits for the room's lease. */
export type Claim = { lastOrder: number; messages: ClaimedMessage[]; isWanted: boolean };

/** Marks the messages of `sentColumns` sent, where `mine` (LOCK_ROOM_LEASE) has a row. */
export const MARK_SENT = `
  update messages m set status = 'sent', event_id = s.event_id, sent_at = now()
    from unnest(cast(:ids as uuid[]), cast(:eventIds as text[])) as s(id, event_id), mine
   where m.id = s.id and m.status <> 'dead'`;

/** The bindings of `MARK_SENT`. */
export function sentColumns(sent: readonly SentMessage[]): { ids: string[]; eventIds: string[] } {
  return { ids: sent.map(({ id }) => id), eventIds: sent.map(({ eventId }) => eventId) };
}

/** Marks the messages of `batch` (id, status) as being sent. The result is what `claimed` stands for in SELECT_CLAIMED. */
export const CLAIM_BATCH = `
  update messages m set status = 'sending' from batch where m.id = batch.id
  returning m.id, batch.status = 'sending' as was_sending, m.numbered, m.request_id, m.order_number, m.content, m.accepted_at, m.attempts, m.sender_id, m.room_id`;

/** The claimed messages as a JSON array of ClaimedMessage, oldest first. */
export const SELECT_CLAIMED = `
  select coalesce(jsonb_agg(jsonb_build_object(
           'id', c.id, 'request_id', c.request_id, 'order_number', c.order_number, 'content', c.content,
           'age_ms', extract(epoch from now() - c.accepted_at) * 1000, 'attempts', c.attempts, 'was_sending', c.was_sending, 'is_numbered', c.numbered, 'sender_id', c.sender_id,
           'sender_matrix_id', u.matrix_user_id,
           'sender_is_registered', u.applied_version > 0,
           'sender_is_wanted', u.deleted_at is null and coalesce(s.desired = 'in', false),
           'sender_is_joined', coalesce(s.applied = 'in', false)
         ) order by c.order_number), '[]'::jsonb)
    from claimed c
    join users u on u.id = c.sender_id
    left join memberships s on s.room_id = c.room_id and s.user_id = c.sender_id`;

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
): Promise<Claim | null> {
  const rows = await rowsOf<{
    last_order: number | null;
    messages: ClaimedMessage[];
    is_wanted: boolean | null;
  }>(
    db,
    `with mine as (${LOCK_ROOM_LEASE}), marked as (${MARK_SENT}), batch as (
       select m.id, m.status from messages m, mine
        where m.room_id = :roomId and m.open and m.status in ('queued', 'sending') and m.order_number > :afterOrder
        order by m.order_number limit :limit for update of m
     ), claimed as (${CLAIM_BATCH})
     -- From this statement's snapshot, like the messages: the locked row may be newer.
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
 * Ends a batch before its end: marks messages sent, and queues those again that were not tried. Returns false when the
 * lease has ended: then nothing is changed.
 */
export async function endBatch(
  db: Db,
  roomId: string,
  fence: string,
  { sent, untried }: { sent: readonly SentMessage[]; untried: readonly string[] },
): Promise<boolean> {
  const rows = await rowsOf<{ held: boolean }>(
    db,
    `with mine as (${LOCK_ROOM_LEASE}), marked as (${MARK_SENT}), unclaimed as (
       update messages m set status = 'queued' from mine where m.id = any(:untried) and m.status = 'sending'
     ) select exists (select 1 from mine) as held`,
    { roomId, fence, untried: [...untried], ...sentColumns(sent) },
  );
  return rows[0]?.held ?? false;
}

/** Makes the room's messages due after `delayMs`: after a failed attempt, or at the end of a time slice (0). */
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
