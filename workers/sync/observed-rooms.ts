import { rowsOf, type Db } from "../../shared/db/open.ts";

/** A room that an observer reads, with its gap if it has one. */
export type ObservedRoom = {
  id: string;
  tenant_id: string;
  matrix_room_id: string;
  gap_from: string | null;
  gap_to: string | null;
};

const SELECT = `
  select r.id, r.tenant_id, r.matrix_room_id, t.gap_from, t.gap_to
    from rooms r join room_timeline t on t.room_id = r.id`;

/**
 * Saves how far an observer has read, and locks the timelines of the living rooms among those named by their Matrix
 * ids: one statement, since every message waits for it. Null when the observer's lease is gone.
 */
export async function savePositionAndLock(
  trx: Db,
  position: { observerId: string; fence: string; since: string; matrixRoomIds: readonly string[] },
): Promise<ObservedRoom[] | null> {
  const rows = await rowsOf<{ is_held: boolean; rooms: ObservedRoom[] }>(
    trx,
    `with saved as (
       update sync_positions set since = :since, last_success_at = now()
        where observer_id = :observerId and fence = :fence and lease_until > now() returning 1
     ), locked as (
       ${SELECT} where r.observer_id = :observerId and r.matrix_room_id = any(:matrixRoomIds) and r.deleted_at is null
        order by t.room_id for update of t
     )
     select exists (select 1 from saved) as is_held, coalesce((select jsonb_agg(locked) from locked), '[]') as rooms`,
    position,
  );
  return rows[0]?.is_held ? rows[0].rooms : null;
}

/** The same rooms without a lock, by their Matrix ids. */
export function findObservedRooms(
  db: Db,
  observerId: string,
  matrixRoomIds: readonly string[],
): Promise<ObservedRoom[]> {
  return rowsOf<ObservedRoom>(
    db,
    `${SELECT} where r.observer_id = ? and r.matrix_room_id = any(?) and r.deleted_at is null`,
    [observerId, matrixRoomIds],
  );
}

/** One room, its timeline locked. */
export async function lockObservedRoom(trx: Db, roomId: string): Promise<ObservedRoom | null> {
  const rows = await rowsOf<ObservedRoom>(
    trx,
    `${SELECT} where r.id = ? and r.matrix_room_id is not null and r.deleted_at is null for update of t`,
    [roomId],
  );
  return rows[0] ?? null;
}

/** A gap that is known from its first position on; `from` empty: from the room's beginning. */
export const FROM_BEGINNING = "";

/**
 * Records what was not read: from where to where. A gap that is open stays open from where it began, and now reaches
 * further.
 */
export async function recordGaps(
  trx: Db,
  gaps: readonly { roomId: string; from: string; to: string }[],
): Promise<void> {
  if (gaps.length === 0) return;
  await trx.raw(
    `update room_timeline t set gap_from = coalesce(t.gap_from, g.gap_from), gap_to = g.gap_to,
            gap_next_attempt_at = coalesce(t.gap_next_attempt_at, now())
       from unnest(cast(? as uuid[]), cast(? as text[]), cast(? as text[])) as g(room_id, gap_from, gap_to)
      where t.room_id = g.room_id`,
    [gaps.map((gap) => gap.roomId), gaps.map((gap) => gap.from), gaps.map((gap) => gap.to)],
  );
}

/**
 * The observer was put out of rooms that the tenant still has: bringing it back is due, and what is said meanwhile is a
 * gap.
 */
export async function noteObserverOut(
  trx: Db,
  observerId: string,
  matrixRoomIds: readonly string[],
  { since, next }: { since: string; next: string },
): Promise<void> {
  if (matrixRoomIds.length === 0) return;
  const rooms = await rowsOf<{ id: string }>(
    trx,
    `update rooms set observer_left_at = coalesce(observer_left_at, now()), next_attempt_at = now()
      where observer_id = ? and matrix_room_id = any(?) and deleted_at is null returning id`,
    [observerId, matrixRoomIds],
  );
  await recordGaps(
    trx,
    rooms.map(({ id }) => ({ roomId: id, from: since, to: next })),
  );
}

/** Reading starts anew: every room of an observer has a gap up to the new position. Answers the rooms. */
export async function recordGapsOfObserver(
  trx: Db,
  observerId: string,
  to: string,
): Promise<{ id: string; tenant_id: string }[]> {
  return rowsOf<{ id: string; tenant_id: string }>(
    trx,
    `update room_timeline t set gap_from = :from, gap_to = :to, gap_next_attempt_at = now()
       from rooms r
      where r.id = t.room_id and r.observer_id = :observerId and r.matrix_room_id is not null and r.deleted_at is null
     returning r.id, r.tenant_id`,
    { observerId, to, from: FROM_BEGINNING },
  );
}
