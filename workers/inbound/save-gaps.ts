import { transactPipelined, type Statement } from "../../shared/db/connection/pipelined-transaction.ts";
import { isLeaseLost } from "../../shared/db/connection/failures.ts";
import type { WorkerContext } from "../runtime/context.ts";
import type { SyncResponse } from "../matrix/sync/fetch-changes.ts";
import { markObserverOut, savePositionAndRequire } from "../../shared/db/observers/observed-rooms.ts";
import { FROM_BEGINNING, recordGaps, recordGapsOfObserver } from "../../shared/db/observers/room-gaps.ts";
import { ObserverLeaseLost, type ObserverRun } from "./observers/observer-run.ts";
import { parseSyncBatch } from "./sync-batch.ts";

/** Rooms whose gap is woken at once; the sweeper wakes the others. */
const WAKES_AT_ONCE = 100;

/**
 * Saves the position of a batch, and records a gap in each of its rooms instead of its events: each gap is filled by a job
 * of its own. @throws ObserverLeaseLost
 */
export async function saveAsGaps(
  context: WorkerContext,
  run: ObserverRun,
  since: string,
  changes: SyncResponse,
): Promise<void> {
  const { rooms, left, from, to } = parseSyncBatch(since, changes);
  const observerId = run.observer.observer_id;
  const matrixRoomIds = [...rooms.map(({ matrixRoomId }) => matrixRoomId), ...left];
  await saveGaps(context, run, to, recordGaps(observerId, matrixRoomIds, { from, to }), [
    markObserverOut(observerId, left),
  ]);
}

/**
 * Continues reading at the position `to`, and records a gap in every room: from the position `from` or, where the
 * homeserver does not know that one any more, from the room's beginning. `left`: rooms that the observer is not in.
 * @throws ObserverLeaseLost
 */
export async function restartReading(
  context: WorkerContext,
  run: ObserverRun,
  { from = FROM_BEGINNING, to, left }: { from?: string; to: string; left: readonly string[] },
): Promise<void> {
  const observerId = run.observer.observer_id;
  await saveGaps(context, run, to, recordGapsOfObserver(observerId, { from, to }), [
    markObserverOut(observerId, left),
  ]);
}

async function saveGaps(
  context: WorkerContext,
  { observer, fence }: ObserverRun,
  since: string,
  gaps: Statement,
  also: readonly Statement[],
): Promise<void> {
  const position = { observerId: observer.observer_id, fence, since };
  const require = savePositionAndRequire(position, { matrixRoomIds: [], rooms: [] });
  try {
    const [, rooms] = await transactPipelined<[unknown[], { room_id: string }[]]>(context.db, [
      require,
      gaps,
      ...also,
    ]);
    context.metrics.gaps.inc(rooms.length);
    await Promise.all(
      rooms
        .slice(0, WAKES_AT_ONCE)
        .map((room) => context.wake("room-sync", { tenantId: observer.tenant_id, roomId: room.room_id })),
    );
  } catch (error) {
    throw isLeaseLost(error) ? new ObserverLeaseLost() : error;
  }
}
