import { newFence } from "../../platform/ids.ts";
import { execute, rowsOf, type Db } from "../connection/open.ts";
import type { RoomState } from "./append.ts";
import { SELECT_ENTRY, type EntryRow } from "./entries.ts";

/** `request_id`: of the request that the message came with; absent where the statement does not read it. */
export type PublishedRow = EntryRow & { request_id?: string | null };
export type PublishableRow = RoomState & PublishedRow;

/** The next entries to publish, `limit` at most of each room, by room and number. */
export function readUnpublished(
  db: Db,
  roomIds: readonly string[],
  limit: number,
): Promise<PublishableRow[]> {
  return rowsOf<PublishableRow>(
    db,
    `select due.*, entry.*, m.request_id
       from (select room_id, epoch, last_number, published_number from room_timeline
              where room_id = any(?) and published_number < last_number) due
       join lateral (${SELECT_ENTRY}
              where e.room_id = due.room_id and e.number > due.published_number and e.number <= due.published_number + ?) entry
         on true
       left join messages m on m.id = entry.entry_id
      order by due.room_id, entry.number`,
    [[...roomIds], limit],
  );
}

/** Rooms whose timeline is ahead of what is published, in no order: the caller publishes all of them. */
export async function findUnpublishedRooms(db: Db, limit: number): Promise<string[]> {
  const rows = await rowsOf<{ room_id: string }>(
    db,
    "select room_id from room_timeline where published_number < last_number limit ?",
    [limit],
  );
  return rows.map((row) => row.room_id);
}

/** Moves the cursors of publishing forward, each in the epoch that was published to; never back. */
export async function advancePublished(
  db: Db,
  rooms: readonly { roomId: string; epoch: string; number: number }[],
): Promise<void> {
  await execute(
    db,
    `update room_timeline t set published_number = greatest(t.published_number, p.number)
       from unnest(cast(? as uuid[]), cast(? as text[]), cast(? as bigint[])) as p(room_id, epoch, number)
      where t.room_id = p.room_id and t.epoch = p.epoch`,
    [rooms.map((room) => room.roomId), rooms.map((room) => room.epoch), rooms.map((room) => room.number)],
  );
}

/** Moves the cursor of publishing back to where the stream ends. */
export async function rewindPublished(db: Db, state: RoomState, streamEnd: number): Promise<void> {
  await db.raw(
    "update room_timeline set published_number = least(published_number, ?) where room_id = ? and epoch = ?",
    [streamEnd, state.room_id, state.epoch],
  );
}

/**
 * Gives a room a new epoch when its stream ends after its timeline; its newest `republished` entries are published again.
 * Returns false when the timeline is not behind the stream any more.
 */
export async function replaceEpoch(
  db: Db,
  state: RoomState,
  { streamEnd, republished }: { streamEnd: number; republished: number },
): Promise<boolean> {
  const changed = await rowsOf<{ room_id: string }>(
    db,
    `update room_timeline set epoch = ?, published_number = greatest(0, last_number - ?)
      where room_id = ? and epoch = ? and last_number < ? returning room_id`,
    [newFence(), republished, state.room_id, state.epoch, streamEnd],
  );
  return changed.length > 0;
}

export async function readRoomState(db: Db, roomId: string): Promise<RoomState | undefined> {
  const states = await rowsOf<RoomState>(
    db,
    "select room_id, epoch, last_number, published_number from room_timeline where room_id = ?",
    [roomId],
  );
  return states[0];
}

/** The newest entries that are published, oldest first. */
export function readNewestPublished(db: Db, state: RoomState, limit: number): Promise<EntryRow[]> {
  return rowsOf<EntryRow>(
    db,
    `select * from (${SELECT_ENTRY} where e.room_id = ? and e.number <= ? order by e.number desc limit ?) newest order by number`,
    [state.room_id, state.published_number, limit],
  );
}
