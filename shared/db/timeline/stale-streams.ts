import { execute, rowsOf, type Db } from "../connection/open.ts";

/** A stream that holds content which was removed. `isOver`: nobody publishes to it any more. */
export type StaleStream = { room_id: string; epoch: string; scrubs: number; isOver: boolean };

/** For how long a process may publish to a stream that it knew before. It reads the state of a room each time. */
const LATE_S = 60;

/** Streams that are to be removed, those that were found longest ago first. */
export function findStaleStreams(db: Db, limit: number): Promise<StaleStream[]> {
  return rowsOf<StaleStream>(
    db,
    `select room_id, epoch, scrubs, since < now() - ${LATE_S} * interval '1 second' as "isOver"
       from stale_streams order by since limit ?`,
    [limit],
  );
}

/** The same of some rooms, the newest first. */
export function findStaleStreamsOf(
  db: Db,
  roomIds: readonly string[],
  limit: number,
): Promise<Omit<StaleStream, "isOver">[]> {
  return rowsOf(
    db,
    "select room_id, epoch, scrubs from stale_streams where room_id = any(:roomIds) order by since desc limit :limit",
    { roomIds: [...roomIds], limit },
  );
}

/** Forgets the streams that were removed and that nobody publishes to any more. */
export async function forgetStaleStreams(db: Db, streams: readonly StaleStream[]): Promise<void> {
  const over = streams.filter(({ isOver }) => isOver);
  if (over.length === 0) return;
  await execute(
    db,
    `delete from stale_streams s using unnest(cast(:rooms as uuid[]), cast(:epochs as text[]), cast(:scrubs as int[])) as d(room_id, epoch, scrubs)
      where s.room_id = d.room_id and s.epoch = d.epoch and s.scrubs = d.scrubs`,
    {
      rooms: over.map((stream) => stream.room_id),
      epochs: over.map((stream) => stream.epoch),
      scrubs: over.map((stream) => stream.scrubs),
    },
  );
}
