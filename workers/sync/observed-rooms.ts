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

/** The living rooms among those named by their Matrix ids; their timelines stay locked, in id order. */
export function lockObservedRooms(trx: Db, observerId: string, matrixRoomIds: readonly string[]): Promise<ObservedRoom[]> {
  return rowsOf<ObservedRoom>(
    trx,
    `${SELECT} where r.observer_id = ? and r.matrix_room_id = any(?) and r.deleted_at is null order by t.room_id for update of t`,
    [observerId, matrixRoomIds],
  );
}

/** The same without a lock. */
export function findObservedRooms(db: Db, observerId: string, matrixRoomIds: readonly string[]): Promise<ObservedRoom[]> {
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
