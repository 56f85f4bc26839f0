import { newFence } from "../../platform/ids.ts";
import { execute, rowsOf, type Db } from "../connection/open.ts";
import type { RoomState } from "./append.ts";
import { SELECT_ENTRY, type EntryRow } from "./entries.ts";

/*
 * `unpublished_rooms` marks rooms whose stream in Redis may lack entries of their timeline. The statement that appends writes the
 * mark; the sweeper finds the rooms that are marked for a while, publishes what is missing, and removes the mark under the
 * row lock of the timeline, so that no append is missed.
 */

/** Rooms that have been marked for half a second, the oldest first: the process that has just appended publishes by itself. */
export async function findUnpublishedRooms(db: Db, limit: number): Promise<string[]> {
  const rows = await rowsOf<{ room_id: string }>(
    db,
    "select room_id from unpublished_rooms where since < now() - interval '500 milliseconds' order by since limit ?",
    [limit],
  );
  return rows.map((row) => row.room_id);
}

/**
 * Removes the marks of rooms whose timelines end where their streams end. A room that somebody appends to is marked from now
 * on: what the mark was for is published.
 */
export async function removeMarks(
  db: Db,
  published: readonly { roomId: string; epoch: string; number: number }[],
): Promise<void> {
  if (published.length === 0) return;
  await execute(
    db,
    `with done as (
       select t.room_id from room_timeline t
         join unnest(cast(? as uuid[]), cast(? as text[]), cast(? as bigint[])) as p(room_id, epoch, number)
           on p.room_id = t.room_id and p.epoch = t.epoch and p.number = t.last_number
        order by t.room_id for update of t skip locked
     ), removed as (
       delete from unpublished_rooms u using done where u.room_id = done.room_id
     )
     update unpublished_rooms set since = now()
      where room_id = any(cast(? as uuid[])) and room_id not in (select room_id from done)`,
    [
      published.map((room) => room.roomId),
      published.map((room) => room.epoch),
      published.map((room) => room.number),
      published.map((room) => room.roomId),
    ],
  );
}

export function readRoomStates(db: Db, roomIds: readonly string[]): Promise<RoomState[]> {
  return rowsOf<RoomState>(
    db,
    "select room_id, epoch, last_number, scrubs from room_timeline where room_id = any(?)",
    [[...roomIds]],
  );
}

/** A part of a room's timeline in an epoch: `limit` entries at most after a number. */
export type TimelinePart = { roomId: string; epoch: string; after: number; limit: number };

/** Parts of timelines, by room and number. A room that has another epoch by now has no entries. */
export function readEntries(db: Db, parts: readonly TimelinePart[]): Promise<EntryRow[]> {
  return rowsOf<EntryRow>(
    db,
    `select entry.*
       from unnest(cast(? as uuid[]), cast(? as text[]), cast(? as bigint[]), cast(? as bigint[])) as p(room_id, epoch, after, many)
       join room_timeline t on t.room_id = p.room_id and t.epoch = p.epoch
       join lateral (${SELECT_ENTRY}
              where e.room_id = p.room_id and e.number > p.after and e.number <= p.after + p.many) entry on true
      order by entry.room_id, entry.number`,
    [
      parts.map(({ roomId }) => roomId),
      parts.map(({ epoch }) => epoch),
      parts.map(({ after }) => after),
      parts.map(({ limit }) => limit),
    ],
  );
}

/**
 * Gives a room a new epoch when its stream ends after its timeline. Returns false when the timeline is not behind the stream
 * any more.
 */
export async function replaceEpoch(db: Db, state: RoomState, streamEnd: number): Promise<boolean> {
  const changed = await rowsOf<{ room_id: string }>(
    db,
    "update room_timeline set epoch = ? where room_id = ? and epoch = ? and last_number < ? returning room_id",
    [newFence(), state.room_id, state.epoch, streamEnd],
  );
  return changed.length > 0;
}
