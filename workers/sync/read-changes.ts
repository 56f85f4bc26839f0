import type { WorkerContext } from "../context.ts";
import type { Requester } from "../matrix/client.ts";
import { MatrixFailure } from "../matrix/failure.ts";
import { fetchChanges, fetchStream, isBackwards, POLL_MS, type SyncAnswer } from "../matrix/sync-api.ts";
import type { WorkerMetrics } from "../metrics.ts";
import type { ObserverRun } from "./observer-run.ts";

/**
 * What happened since a position; waits for something to happen. From the stream of events where that may be read and
 * tells it whole, else from `/sync`, whose word always counts. `/sync` is asked first after each start too: of a position
 * that a restored homeserver has not come to yet, the stream would wait in silence.
 */
export async function readChanges(
  context: Pick<WorkerContext, "log"> & { metrics: Pick<WorkerMetrics, "syncReads"> },
  run: Pick<ObserverRun, "observer" | "reading" | "signal">,
  request: Requester,
  { since, failures }: { since: string; failures: number },
): Promise<SyncAnswer> {
  const { reading, signal } = run;
  if (reading.fromStream && reading.isConfirmed && failures === 0) {
    const reader = run.observer.matrix_user_id;
    const changes = await fetchStream(request, { since, reader, signal }).catch((error: unknown) => {
      if (!(error instanceof MatrixFailure && error.httpStatus === 404)) throw error;
      reading.fromStream = false;
      context.log.warn("the homeserver has no stream of events: reading /sync instead");
      return null;
    });
    if (changes !== null && !isBackwards(since, changes.next_batch)) {
      context.metrics.syncReads.inc({ from: "events" });
      return changes;
    }
  }
  // After a failure: answer at once, and by another request than before, since a homeserver keeps answers for minutes.
  const pollMs = failures > 0 ? failures : reading.fromStream && !reading.isConfirmed ? 0 : POLL_MS;
  const changes = await fetchChanges(request, { since, pollMs, signal });
  reading.isConfirmed = true;
  context.metrics.syncReads.inc({ from: "sync" });
  return changes;
}
