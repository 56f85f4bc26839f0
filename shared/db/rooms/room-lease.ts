import { isLockTimeout } from "../connection/failures.ts";
import { rowsOf, type Db } from "../connection/open.ts";
import { transactPipelined } from "../connection/pipelined-transaction.ts";
import { LEASE_MS, HOLDS_ROOM_LEASE, LOCK_ROOM_LEASE } from "../lease.ts";
import {
  CLAIM_BATCH,
  MARK_SENT,
  SELECT_CLAIMED,
  SELECT_DUPLICATES,
  sentColumns,
  type ClaimedMessage,
  type Duplicates,
  type SentMessage,
} from "../messages/outbox.ts";
import { hasRetryWanted } from "../messages/dead/retry-wanted.ts";
import { SNAPSHOT_COLUMNS, SNAPSHOT_JOINS, type RoomSnapshot } from "./room-snapshot.ts";

/**
 * A room's lease makes its holder the only writer to the room on Matrix. It stands in `room_outbox`.
 * - free → held: `acquireRoomLease`, by a job about the room.
 * - held → held: `renewRoomLease`, by the keeper in `workers/runtime/room-lease.ts`, every few seconds.
 * - held → free: `releaseRoomLease`, when the job ends; or time, when the holder is dead.
 */

/**
 * A room whose lease was acquired, with its claimed messages and its last order number at the moment they were read.
 * `has_retries`: senders want dead messages sent again.
 */
export type LeasedRoom = RoomSnapshot & {
  claimed: ClaimedMessage[];
  claimed_order: number;
  has_retries: boolean;
};

/** A job waits for the lock no longer than this, since it holds a connection meanwhile. The sweeper finds the room again. */
const LOCK_LIMIT_MS = 1_000;

const LOCK_ROOM = "select 1 from room_outbox where tenant_id = :tenantId and room_id = :roomId for update";

// A statement of its own: it sees what was committed while the lock was waited for.
const ACQUIRE_ROOM = `
     with x as (
       update room_outbox set fence = :fence, lease_until = now() + :leaseMs * interval '1 millisecond'
        where tenant_id = :tenantId and room_id = :roomId and (lease_until is null or lease_until < now())
       returning room_id, attempts, next_attempt_at
     ), batch as (
       select m.id, m.status from messages m
        where m.room_id = :roomId and m.open and m.status in ('queued', 'sending')
          and exists (select 1 from x where x.next_attempt_at is null or x.next_attempt_at <= now())
          and exists (select 1 from tenants t where t.id = :tenantId and t.status = 'active')
        order by m.order_number limit :claim for update of m
     ), claimed as (${CLAIM_BATCH})
     select ${SNAPSHOT_COLUMNS}, (${SELECT_CLAIMED}) as claimed,
            (select last_order from room_outbox where room_id = :roomId) as claimed_order, ${hasRetryWanted(":roomId")} as has_retries
       from x ${SNAPSHOT_JOINS}`;

/**
 * Acquires a room's lease, reads the room, and claims its oldest messages, `claim` at most, where they are due. One round
 * trip, since every message waits for it. Waits at most a second for transactions that add messages to the room: their
 * messages are claimed too. Null when somebody else holds the lease, or there is no such room.
 */
export async function acquireRoomLease(
  db: Db,
  room: { tenantId: string; roomId: string; fence: string; claim: number },
): Promise<LeasedRoom | null> {
  const bindings = { ...room, leaseMs: LEASE_MS };
  try {
    const [, rows] = await transactPipelined<[unknown[], LeasedRoom[]]>(
      db,
      [
        { sql: LOCK_ROOM, bindings },
        { sql: ACQUIRE_ROOM, bindings },
      ],
      { lockWaitMs: LOCK_LIMIT_MS },
    );
    return rows[0] ?? null;
  } catch (error) {
    if (isLockTimeout(error)) return null;
    throw error;
  }
}

/** Returns false when the lease has ended: somebody else may hold it. */
export async function renewRoomLease(db: Db, roomId: string, fence: string): Promise<boolean> {
  const rows = await rowsOf(
    db,
    `update room_outbox set lease_until = now() + :leaseMs * interval '1 millisecond'
      where ${HOLDS_ROOM_LEASE} returning 1 as renewed`,
    { roomId, fence, leaseMs: LEASE_MS },
  );
  return rows.length > 0;
}

/**
 * Work that is due in a room whose lease was released, and that a job would do: nothing of a paused tenant, no members of
 * a deleted room. `isMarked`: the lease was still held, and what was sent is marked.
 */
export type DueWork = Duplicates & { messages: boolean; members: boolean; room: boolean; isMarked: boolean };

/**
 * Releases a lease, marks what was sent last, and returns what is due in the room. `settledOrder`: every message up to it
 * is sent or dead, so that messages are due only where more were accepted since, or a dead one is to be sent again. Null, or a lease that has ended, leaves
 * the room's due time as it is.
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
    `with mine as (${LOCK_ROOM_LEASE}), ${MARK_SENT},
     settled as (select cast(:settled as bigint) as up_to where exists (select 1 from mine))
     update room_outbox o
        set fence = null, lease_until = null,
            attempts = case when s.up_to is null then o.attempts else 0 end,
            failing_since = case when s.up_to is null then o.failing_since end,
            next_attempt_at = case when s.up_to is null then o.next_attempt_at when o.last_order > s.up_to or ${hasRetryWanted("o.room_id")} then now() end
       from rooms r join tenants t on t.id = r.tenant_id left join settled s on true
      where o.room_id = :roomId and o.fence = :fence and r.id = o.room_id
     returning t.status = 'active' and coalesce(o.next_attempt_at <= now(), false) as messages,
               t.status = 'active' and coalesce(r.members_next_attempt_at <= now() and r.deleted_at is null, false) as members,
               t.status = 'active' and coalesce(r.next_attempt_at <= now(), false) as room,
               exists (select 1 from mine) as "isMarked", (${SELECT_DUPLICATES}) as duplicates`,
    { roomId, fence, settled: settledOrder, ...sentColumns(sent) },
  );
  return rows[0] ?? { messages: false, members: false, room: false, isMarked: false, duplicates: [] };
}
