import type { Statement } from "../connection/pipelined-transaction.ts";
import { LEASE_LOST, VIEW_STALE } from "../connection/failures.ts";
import { execute, rowsOf, type Db } from "../connection/open.ts";
import { FROM_BEGINNING } from "./room-gaps.ts";

/**
 * A room that an observer reads. `gap_from`: the start of its gap, null when it has none. `not_before_ms`: what Matrix has from up to
 * this time is not taken over, null for no such time.
 */
export type ObservedRoom = {
  id: string;
  matrix_room_id: string;
  gap_from: string | null;
  not_before_ms: number | null;
};

/** The tables as a decision saw them: the rooms of which it changes more than messages of ours. */
export type ObserverView = {
  matrixRoomIds: readonly string[];
  rooms: readonly Pick<ObservedRoom, "id" | "gap_from">[];
};

/**
 * Saves an observer's position and locks the timelines of some of its rooms. Requires that the observer's lease is held
 * (LEASE_LOST), and that the rooms exist and have a gap or none as the decision saw them (VIEW_STALE).
 */
export function savePositionAndRequire(
  position: { observerId: string; fence: string; since: string },
  { matrixRoomIds, rooms }: ObserverView,
): Statement {
  return {
    sql: `with saved as (
       update sync_positions set since = :since, last_success_at = now()
        where observer_id = :observerId and fence = :fence and lease_until > now() returning 1
     ), seen as (
       select * from jsonb_to_recordset(cast(:seen as jsonb)) as s(id uuid, "isGapped" boolean)
     ), locked as (
       select t.room_id, t.gap_from is not null as is_gapped from rooms r join room_timeline t on t.room_id = r.id
        where r.observer_id = :observerId and r.matrix_room_id = any(:matrixRoomIds) and r.deleted_at is null
        order by t.room_id for update of t
     )
     select omc_require(exists (select 1 from saved), '${LEASE_LOST}'),
            omc_require((select count(*) from locked) = :count and not exists (
              select 1 from locked l where not exists (
                select 1 from seen s where s.id = l.room_id and s."isGapped" = l.is_gapped)), '${VIEW_STALE}')`,
    bindings: {
      ...position,
      matrixRoomIds: [...matrixRoomIds],
      seen: JSON.stringify(rooms.map(({ id, gap_from: gapFrom }) => ({ id, isGapped: gapFrom !== null }))),
      count: rooms.length,
    },
  };
}

/** Matrix ids of the rooms that an observer reads. */
export async function listObservedRooms(db: Db, observerId: string): Promise<string[]> {
  const rows = await rowsOf<{ matrix_room_id: string }>(
    db,
    "select matrix_room_id from rooms where observer_id = ? and matrix_room_id is not null and deleted_at is null",
    [observerId],
  );
  return rows.map((row) => row.matrix_room_id);
}

/** The same, without those of which it is recorded that the observer is out. */
export async function listRoomsWithObserver(db: Db, observerId: string): Promise<string[]> {
  const rows = await rowsOf<{ matrix_room_id: string }>(
    db,
    `select matrix_room_id from rooms
      where observer_id = ? and matrix_room_id is not null and observer_left_at is null and deleted_at is null`,
    [observerId],
  );
  return rows.map((row) => row.matrix_room_id);
}

/**
 * Records that the observer is not in rooms where no response showed it leave. Returns the row ids of those of which it was
 * not recorded before.
 */
export async function noteObserverOut(
  db: Db,
  observerId: string,
  matrixRoomIds: readonly string[],
): Promise<string[]> {
  const rows = await rowsOf<{ id: string }>(
    db,
    `update rooms set observer_left_at = now(), next_attempt_at = now()
      where observer_id = ? and matrix_room_id = any(?) and observer_left_at is null and deleted_at is null returning id`,
    [observerId, [...matrixRoomIds]],
  );
  return rows.map(({ id }) => id);
}

/** Records that the observer was removed from rooms that the tenant still has. The provisioning job brings it back. */
export function markObserverOut(observerId: string, matrixRoomIds: readonly string[]): Statement {
  return {
    sql: `update rooms set observer_left_at = coalesce(observer_left_at, now()), next_attempt_at = now()
      where observer_id = ? and matrix_room_id = any(?) and deleted_at is null`,
    bindings: [observerId, [...matrixRoomIds]],
  };
}

/** The part of a position by which Synapse orders it. */
const ordinal = (position: string) => `cast(substring(${position} from '^s([0-9]+)') as numeric)`;

/** A SET clause of `room_timeline`: the gap ends at `:to`, or later where `/sync` has recorded that. It is due. */
export const GAP_REACHES_TO = `
  gap_next_attempt_at = now(),
  gap_to = case when ${ordinal("gap_to")} > ${ordinal("cast(:to as text)")} then gap_to else :to end`;

/**
 * Records that the observer is back in a room. The room's gap, or one from its beginning, ends at `to`, a position after
 * the observer's return.
 */
export async function markObserverBack(db: Db, roomId: string, { to }: { to: string }): Promise<void> {
  await execute(db, MARK_BACK, { roomId, to, beginning: FROM_BEGINNING });
}

const MARK_BACK = `
    with back as (update rooms set observer_left_at = null where id = :roomId)
     update room_timeline set gap_from = coalesce(gap_from, :beginning), ${GAP_REACHES_TO} where room_id = :roomId`;
