import type { Statement } from "../connection/pipelined-transaction.ts";
import { VIEW_STALE } from "../connection/failures.ts";
import { execute, rowsOf, type Db } from "../connection/open.ts";

/**
 * A gap is the part of a room that its observer did not read, from one position to another. It stands in `room_timeline`
 * as `gap_from` and `gap_to`. While a gap is open, only its filling (`workers/jobs/room-sync.ts`) appends what comes from
 * Matrix to the room's timeline.
 * - none → open: `/sync` left events out, the observer was removed from the room, or a sent message was not seen.
 * - open → open: more was left out, so that it ends later; or a page of it was filled, so that it starts later.
 * - open → none: it is filled to its end, or its room is deleted.
 * A room whose observer is out has an open gap without an end, which is filled when the observer is back.
 */

/** The `from` of a gap that starts at the room's beginning. */
export const FROM_BEGINNING = "";

/**
 * `isRereading`: it started at the room's beginning, and a part of it may be filled. `rereading`: the id of the rereading, once
 * its first page is read. After the last page, the id stays only where too many messages were missing: see
 * `workers/outbound/requeue-missing.ts`. `isAdopting`: it is the history of a Matrix room that is adopted.
 */
export type Gap = {
  from: string;
  to: string;
  isRereading: boolean;
  rereading: string | null;
  isAdopting: boolean;
};

/** The gap of a room; null when it has none, and while its observer is out. */
export async function findGap(db: Db, roomId: string): Promise<(Gap & { attempts: number }) | null> {
  const rows = await rowsOf<Gap & { attempts: number }>(
    db,
    `select gap_from as "from", gap_to as "to", gap_attempts as attempts, rereading,
            is_rereading or gap_from = :beginning as "isRereading", r.adopting as "isAdopting"
       from room_timeline join rooms r on r.id = room_id
      where room_id = :roomId and gap_from is not null and gap_to is not null and r.observer_left_at is null`,
    { roomId, beginning: FROM_BEGINNING },
  );
  return rows[0] ?? null;
}

/** Locks a room's timeline and requires that its gap still starts at a position: VIEW_STALE. */
export function requireGap(roomId: string, gapFrom: string): Statement {
  return {
    sql: `with locked as (
       select t.gap_from from rooms r join room_timeline t on t.room_id = r.id
        where r.id = :roomId and r.matrix_room_id is not null and r.deleted_at is null for update of t
     ) select omc_require(exists (select 1 from locked where gap_from = :gapFrom), '${VIEW_STALE}')`,
    bindings: { roomId, gapFrom },
  };
}

/**
 * Shortens a gap by a page that was read up to `end`, or closes it; one whose end has moved stays open from `end` on.
 * `rereading`: what is kept as the id of the rereading, `closed` when the gap is closed.
 */
export function shortenGap(
  roomId: string,
  {
    gap,
    end,
    isFilled,
    rereading,
  }: {
    gap: Gap;
    end: string | null;
    isFilled: boolean;
    rereading: { open: string | null; closed: string | null };
  },
): Statement {
  return {
    sql: `update room_timeline t
        set gap_from = case when g.is_closed then null else :end end, gap_to = case when g.is_closed then null else t.gap_to end,
            gap_attempts = 0, gap_next_attempt_at = case when g.is_closed then null else now() end,
            is_rereading = :isRereading and not g.is_closed,
            rereading = case when g.is_closed then cast(:closed as uuid) else cast(:open as uuid) end
       from (select room_id, :isFilled and gap_to = :to as is_closed from room_timeline where room_id = :roomId) g
      where t.room_id = g.room_id`,
    bindings: { roomId, end, isFilled, to: gap.to, isRereading: gap.isRereading, ...rereading },
  };
}

/** The filling of a gap failed: it is due again after `delayMs`. */
export async function rescheduleGap(
  db: Db,
  roomId: string,
  { delayMs, attempts }: { delayMs: number; attempts: number },
): Promise<void> {
  await execute(
    db,
    `update room_timeline set gap_next_attempt_at = now() + :delayMs * interval '1 millisecond', gap_attempts = :attempts
      where room_id = :roomId and gap_from is not null`,
    { roomId, delayMs, attempts },
  );
}

/**
 * Opens a gap over the whole of each room with a message that was sent longer than `age` (an interval) ago and that its
 * observer, which reads, has not seen. Left out is a room of which too many are missing: an operator decides. Returns the rooms.
 */
export function openGapsOfUnseenMessages(
  db: Db,
  age: string,
): Promise<{ room_id: string; tenant_id: string }[]> {
  return rowsOf<{ room_id: string; tenant_id: string }>(
    db,
    `with unseen as materialized (
       select distinct m.room_id from messages m
        where m.open and m.status = 'sent' and m.sent_at < now() - cast(? as interval)
     ), locked as (
       select t.room_id, p.since
         from unseen n join room_timeline t on t.room_id = n.room_id join rooms r on r.id = t.room_id
         join sync_positions p on p.observer_id = r.observer_id
        where p.since is not null and p.last_success_at > now() - interval '1 minute'
          and r.matrix_room_id is not null and r.deleted_at is null and t.gap_from is null and t.rereading is null
        order by t.room_id for update of t
     )
     update room_timeline t
        set gap_from = coalesce(t.gap_from, ''), gap_to = coalesce(t.gap_to, l.since), gap_next_attempt_at = now()
       from locked l where t.room_id = l.room_id and t.gap_from is null
     returning t.room_id, t.tenant_id`,
    [age],
  );
}

/** Opens gaps in some of an observer's rooms; one that is open keeps its start and ends at `to`. Returns the rooms' row ids. */
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

/**
 * Opens a gap in every room of an observer. One that is open keeps its start, except with FROM_BEGINNING, and ends at
 * `to`. Returns the rooms' row ids.
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

/** The last rereading of a room, where it ended with more missing messages than are sent again by themselves; else null. */
export async function findEndedRereading(db: Db, roomId: string): Promise<string | null> {
  const rows = await rowsOf<{ rereading: string | null }>(
    db,
    "select rereading from room_timeline where room_id = ? and gap_from is null",
    [roomId],
  );
  return rows[0]?.rereading ?? null;
}

/** An operator has had the missing messages sent again. */
export async function endRereading(db: Db, roomId: string): Promise<void> {
  await execute(db, "update room_timeline set rereading = null where room_id = ? and gap_from is null", [
    roomId,
  ]);
}
