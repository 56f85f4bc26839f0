import type { Statement } from "../connection/pipelined-transaction.ts";
import { LEASE_LOST, VIEW_STALE } from "../connection/failures.ts";
import { rowsOf, type Db } from "../connection/open.ts";

/** A room that an observer reads; `gap_from` when it has a gap. */
export type ObservedRoom = { id: string; matrix_room_id: string; gap_from: string | null };

/** What a decision was made from: the rooms that an answer speaks of, by their Matrix ids, as they were seen. */
export type ObserverView = {
  matrixRoomIds: readonly string[];
  rooms: readonly Pick<ObservedRoom, "id" | "gap_from">[];
};

/**
 * Saves how far an observer has read, locks the timelines of the rooms that the answer speaks of, and requires that its
 * lease is held and that these are the same living rooms, with and without a gap, as were seen: LEASE_GONE, VIEW_STALE.
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

/** Locks a room's timeline and requires that its gap still begins where it was seen to begin: VIEW_STALE. */
export function requireGap(roomId: string, gapFrom: string): Statement {
  return {
    sql: `with locked as (
       select t.gap_from from rooms r join room_timeline t on t.room_id = r.id
        where r.id = :roomId and r.matrix_room_id is not null and r.deleted_at is null for update of t
     ) select omc_require(exists (select 1 from locked where gap_from = :gapFrom), '${VIEW_STALE}')`,
    bindings: { roomId, gapFrom },
  };
}

/** A gap that is known from its first position on; `from` empty: from the room's beginning. */
export const FROM_BEGINNING = "";

/**
 * Records what was not read of an observer's rooms: from where to where. A gap that is open stays open from where it
 * began, and now reaches further. Answers the rooms' row ids.
 */
export function recordGaps(
  observerId: string,
  matrixRoomIds: readonly string[],
  gap: { from: string; to: string },
): Statement {
  return {
    sql: `with locked as (
       select t.room_id from rooms r join room_timeline t on t.room_id = r.id
        where r.observer_id = :observerId and r.matrix_room_id = any(:matrixRoomIds) and r.deleted_at is null
        order by t.room_id for update of t
     )
     update room_timeline t set gap_from = coalesce(t.gap_from, :from), gap_to = :to,
            gap_next_attempt_at = coalesce(t.gap_next_attempt_at, now())
       from locked where t.room_id = locked.room_id
     returning t.room_id`,
    bindings: { observerId, matrixRoomIds: [...matrixRoomIds], ...gap },
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

/**
 * The observer was put out of rooms that the tenant still has: bringing it back is due. What is said meanwhile is a gap,
 * which nobody fills before that, since its end is not known.
 */
export function noteObserverOut(observerId: string, matrixRoomIds: readonly string[]): Statement {
  return {
    sql: `update rooms set observer_left_at = coalesce(observer_left_at, now()), next_attempt_at = now()
      where observer_id = ? and matrix_room_id = any(?) and deleted_at is null`,
    bindings: [observerId, [...matrixRoomIds]],
  };
}

/**
 * The observer is back in a room: the gap, which began when it was put out or is taken to reach back to the room's
 * beginning, ends at a position that was had after it came back, or later where `/sync` has said so already.
 */
export function noteObserverBack(roomId: string, to: string): Statement {
  const ordinal = (position: string) => `cast(substring(${position} from '^s([0-9]+)') as numeric)`;
  return {
    sql: `with back as (update rooms set observer_left_at = null where id = :roomId)
     update room_timeline
        set gap_from = coalesce(gap_from, :beginning), gap_next_attempt_at = now(),
            gap_to = case when ${ordinal("gap_to")} > ${ordinal("cast(:to as text)")} then gap_to else :to end
      where room_id = :roomId`,
    bindings: { roomId, to, beginning: FROM_BEGINNING },
  };
}

/**
 * Every room of an observer has a gap up to a position: from an older one, or from its beginning, which takes a gap that
 * is open with it. Answers the rooms' row ids.
 */
export function recordGapsOfObserver(
  observerId: string,
  { from, to }: { from: string; to: string },
): Statement {
  return {
    sql: `with locked as (
       select t.room_id from rooms r join room_timeline t on t.room_id = r.id
        where r.observer_id = :observerId and r.matrix_room_id is not null and r.deleted_at is null
        order by t.room_id for update of t
     )
     update room_timeline t
        set gap_from = case when :from = :beginning then :from else coalesce(t.gap_from, :from) end, gap_to = :to,
            gap_next_attempt_at = now()
       from locked where t.room_id = locked.room_id
     returning t.room_id`,
    bindings: { observerId, from, to, beginning: FROM_BEGINNING },
  };
}
