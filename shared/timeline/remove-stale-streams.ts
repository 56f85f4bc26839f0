import { findStaleStreams, forgetStaleStreams } from "../db/timeline/stale-streams.ts";
import { roomStreamKey } from "../platform/redis-keys.ts";
import type { Publishing } from "./publish.ts";

/**
 * Removes streams that hold what was deleted, `limit` at most. Who publishes a deletion removes its stream at once: this finds those
 * that were missed, and those that a late publisher has made again. What fails stays due. Several processes may run it.
 * @throws what Redis or Postgres throws
 */
export async function removeStaleStreams({ db, redis }: Publishing, limit: number): Promise<void> {
  const streams = await findStaleStreams(db, limit);
  if (streams.length === 0) return;
  await redis.del(streams.map(({ room_id: roomId, epoch, scrubs }) => roomStreamKey(roomId, epoch, scrubs)));
  await forgetStaleStreams(db, streams);
}
