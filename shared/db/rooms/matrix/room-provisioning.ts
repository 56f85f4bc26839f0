import { execute, type Db } from "../../connection/open.ts";
import { HOLDS_ROOM_LEASE } from "../../lease.ts";
import { membersDue } from "../../memberships/members-due.ts";
import { GAP_REACHES_TO } from "../../observers/observed-rooms.ts";
import { FROM_BEGINNING } from "../../observers/room-gaps.ts";
import {
  PROVISIONING_DUE,
  PROVISIONING_RESCHEDULED,
  type FailedProvisioning,
} from "../../provisioning-due.ts";

/** What the jobs record of a room on Matrix: the applied side of `rooms`. The states are described in `rooms.ts`. */

// What was noted while the job ran, and has no version: that the observer is out, or that the room was upgraded.
const HAS_MORE_TO_REPAIR = "(observer_left_at is not null or successor_matrix_room_id is not null)";

// The row is due on where there is a newer version or more to repair, or where it must still be removed from Matrix.
const APPLIED = `
  applied_version = :version, attempts = 0, error = null,
  status = case when desired_version = :version then 'ready' else status end,
  next_attempt_at = case when desired_version > :version or deleted_at is not null or ${HAS_MORE_TO_REPAIR} then now() end`;

const UNDER_LEASE = `exists (select 1 from room_outbox where ${HOLDS_ROOM_LEASE})`;

/** Records the Matrix room that was created with a version's description, under the room's lease. */
export async function markRoomCreated(
  db: Db,
  roomId: string,
  created: { fence: string; matrixRoomId: string; version: number },
): Promise<void> {
  await execute(
    db,
    `update rooms set matrix_room_id = :matrixRoomId, ${APPLIED} where id = :roomId and ${UNDER_LEASE}`,
    { roomId, ...created },
  );
}

/**
 * Records a Matrix room that was found by the room's alias, under the room's lease. Who is in it and what it is called is
 * not known: its description and all its members are due.
 */
export async function markRoomAdopted(
  db: Db,
  roomId: string,
  found: { fence: string; matrixRoomId: string },
): Promise<void> {
  await execute(
    db,
    `update rooms set matrix_room_id = :matrixRoomId, attempts = 0, error = null, strangers_seen_at = now(),
            ${PROVISIONING_DUE}, ${membersDue()}
      where id = :roomId and ${UNDER_LEASE}`,
    { roomId, ...found },
  );
}

/** Records that the Matrix room has a version's name, topic and avatar. */
export async function markRoomDescribed(db: Db, roomId: string, version: number): Promise<void> {
  await execute(db, `update rooms set ${APPLIED} where id = :roomId`, { roomId, version });
}

/** Ends the due time of a room whose desired version is applied already. */
export async function markRoomUpToDate(db: Db, roomId: string): Promise<void> {
  await execute(
    db,
    `update rooms set next_attempt_at = case when ${HAS_MORE_TO_REPAIR} then now() end, status = 'ready'
      where id = ? and applied_version >= desired_version`,
    [roomId],
  );
}

/** The provisioning job of a room failed: it is due again after `delayMs`. */
export async function rescheduleRoom(db: Db, roomId: string, failure: FailedProvisioning): Promise<void> {
  await execute(db, `update rooms set ${PROVISIONING_RESCHEDULED} where id = :roomId`, {
    roomId,
    ...failure,
  });
}

/**
 * Replaces the Matrix room by its successor, under the room's lease. Only the observer is in the successor: the room's
 * description and all its members are due again. What happened there up to the position `to` is a gap from its beginning.
 */
export async function replaceBySuccessor(
  db: Db,
  roomId: string,
  replacement: { fence: string; successor: string; to: string },
): Promise<void> {
  await execute(db, REPLACE, { roomId, beginning: FROM_BEGINNING, ...replacement });
}

// Locks in the order of all other transactions: outbox, timeline, the rest.
const REPLACE = `
    with mine as (
       select room_id from room_outbox where ${HOLDS_ROOM_LEASE} for update
     ), locked as (
       select t.room_id from room_timeline t join mine using (room_id) for update of t
     ), replaced as (
       update rooms set matrix_room_id = :successor, successor_matrix_room_id = null, observer_left_at = null,
              ${PROVISIONING_DUE}, ${membersDue()}
        where id in (select room_id from locked) returning id
     ), moved as (
       update memberships set applied = 'out', applied_level = 0, applied_version = 0
        where room_id in (select id from replaced) and applied = 'in'
     ), banned as (
       update bans set is_applied = false where room_id in (select id from replaced) and not is_ended
     )
     update room_timeline set gap_from = :beginning, ${GAP_REACHES_TO} where room_id in (select id from replaced)`;

/** Records that nothing of a deleted room is left on Matrix. */
export async function markRoomRemoved(db: Db, roomId: string): Promise<void> {
  await execute(
    db,
    `with gone as (
       update memberships set applied = 'out', applied_version = version where room_id = :roomId
     ), timeline as (
       update room_timeline set gap_from = null, gap_to = null, gap_next_attempt_at = null where room_id = :roomId
     )
     update rooms set next_attempt_at = null, members_next_attempt_at = null, attempts = 0, error = null
      where id = :roomId`,
    { roomId },
  );
}
