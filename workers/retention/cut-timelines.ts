import { cutTimeline, findRoomsToCut } from "../../shared/db/timeline/cut.ts";
import type { WorkerContext } from "../runtime/context.ts";

const ROOMS_AT_ONCE = 100;
/** The next run, an hour later, cuts the rest. */
const MAX_CUTS = 1_000;
const FIRST = "00000000-0000-0000-0000-000000000000";

/** Cuts the timelines of rooms that keep what was written for a time only. Several processes may run it. */
export async function cutTimelines({
  db,
  log,
  stopping,
}: Pick<WorkerContext, "db" | "log" | "stopping">): Promise<void> {
  const done = { rooms: 0, entries: 0 };
  let cuts = 0;
  for (let after = FIRST; ;) {
    const roomIds = await findRoomsToCut(db, { after, limit: ROOMS_AT_ONCE });
    for (const roomId of roomIds) {
      for (let isWhole = false; !isWhole; cuts++) {
        if (stopping.aborted || cuts >= MAX_CUTS) return;
        const cut = await cutTimeline(db, roomId);
        done.entries += cut.count;
        isWhole = cut.isWhole;
      }
      done.rooms++;
    }
    const last = roomIds.at(-1);
    if (last === undefined || roomIds.length < ROOMS_AT_ONCE) break;
    after = last;
  }
  if (done.rooms > 0) log.info(done, "old entries of timelines cut");
}
