import { transactPipelined } from "../connection/pipelined-transaction.ts";
import { isLockTimeout } from "../connection/failures.ts";
import { rowsOf, type Db } from "../connection/open.ts";
import { CLAIM_BATCH, LEASE_MS, SELECT_CLAIMED, type ClaimedMessage } from "../messages/outbox.ts";
import type { RoomKind } from "../../contract/names.ts";

/** What handlers know of a room: as the tables say now. */
export type RoomSnapshot = {
  id: string;
  tenant_id: string;
  tenant_is_active: boolean;
  homeserver_id: string;
  max_age_ms: number | null;
  join_policy: "eager" | "lazy";
  kind: RoomKind;
  slug: string;
  generation: number;
  name: string;
  topic: string | null;
  avatar: string | null;
  observer_id: string;
  observer_matrix_id: string;
  observer_is_registered: boolean;
  matrix_room_id: string | null;
  /** Where an upgraded room goes on, until that is followed. */
  successor_matrix_room_id: string | null;
  observer_is_out: boolean;
  desired_version: number;
  applied_version: number;
  attempts: number;
  members_desired_version: number;
  members_attempts: number;
  outbox_attempts: number;
  /** Until the room's messages may be tried again, by the database's clock; 0 or less when they may. */
  outbox_wait_ms: number;
  is_deleted: boolean;
};

const COLUMNS = `
  r.id, r.tenant_id, t.status = 'active' as tenant_is_active, t.homeserver_id,
  (t.limits ->> 'maxAgeMs')::bigint as max_age_ms, coalesce(t.limits ->> 'join', 'lazy') as join_policy,
  r.kind, r.slug, r.generation, r.name, r.topic, r.avatar, r.observer_id, o.matrix_user_id as observer_matrix_id,
  o.is_registered as observer_is_registered, r.matrix_room_id, r.successor_matrix_room_id,
  r.observer_left_at is not null as observer_is_out, r.desired_version, r.applied_version, r.attempts,
  r.members_desired_version, r.members_attempts, x.attempts as outbox_attempts,
  coalesce(ceil(extract(epoch from x.next_attempt_at - now()) * 1000), 0)::int as outbox_wait_ms, r.deleted_at is not null as is_deleted`;

const JOINS = `
  join rooms r on r.id = x.room_id
  join tenants t on t.id = r.tenant_id
  join observers o on o.id = r.observer_id`;

/** Null when there is no such room. A deleted one is found: its remains on Matrix are still to be cleared. */
export async function findRoomSnapshot(
  db: Db,
  tenantId: string,
  roomId: string,
): Promise<RoomSnapshot | null> {
  const rows = await rowsOf<RoomSnapshot>(
    db,
    `select ${COLUMNS} from room_outbox x ${JOINS} where x.tenant_id = ? and x.room_id = ?`,
    [tenantId, roomId],
  );
  return rows[0] ?? null;
}

/** A room that was taken, with its oldest unsent messages and its last order number at the moment they were read. */
export type LeasedRoom = RoomSnapshot & { claimed: ClaimedMessage[]; claimed_order: number };

/**
 * Takes the right to write to a room and reads what is known of it, and marks its oldest messages, `claim` at most, as
 * being sent where they are due: in one round trip, since every message waits for it. Null when somebody has the room,
 * or there is no such room. Waits for those who are just putting messages into the room, a second at most: these are
 * claimed too.
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
        { sql: TAKE_ROOM, bindings },
      ],
      { lockWaitMs: LOCK_LIMIT_MS },
    );
    return rows[0] ?? null;
  } catch (error) {
    if (isLockTimeout(error)) return null;
    throw error;
  }
}

/** Whoever is woken early does not keep a connection for longer: the sweeper finds the room again. */
const LOCK_LIMIT_MS = 1_000;

const LOCK_ROOM = "select 1 from room_outbox where tenant_id = :tenantId and room_id = :roomId for update";

// A statement of its own: it sees what was committed while the lock was waited for.
const TAKE_ROOM = `
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
     select ${COLUMNS}, (${SELECT_CLAIMED}) as claimed,
            (select last_order from room_outbox where room_id = :roomId) as claimed_order
       from x ${JOINS}`;
