import type { WorkerContext } from "../context.ts";
import type { Requester } from "../matrix/client.ts";
import { MatrixFailure } from "../matrix/failure.ts";
import {
  fetchChanges,
  fetchStream,
  isBackwards,
  isOfManyWriters,
  POLL_MS,
  type SyncAnswer,
} from "../matrix/sync-api.ts";
import type { WorkerMetrics } from "../metrics.ts";
import type { ObserverRun } from "./observer-run.ts";

type ReadContext = Pick<WorkerContext, "log"> & { metrics: Pick<WorkerMetrics, "syncReads"> };
type ReadRun = Pick<ObserverRun, "observer" | "reading" | "signal">;

/**
 * What happened since a position; waits for something to happen. From the stream of events where that may be read and
 * tells it whole, else from `/sync`, whose word always counts. `/sync` is asked first after each start too: of a position
 * that a restored homeserver has not come to yet, the stream would wait in silence.
 */
export async function readChanges(
  context: ReadContext,
  run: ReadRun,
  request: Requester,
  { since, failures }: { since: string; failures: number },
): Promise<SyncAnswer> {
  const { reading, signal } = run;
  if (reading.fromStream && reading.isConfirmed && failures === 0) {
    const changes = await readStream(context, run, request, since);
    if (changes !== null) return changes;
  }
  // After a failure: answer at once, and by another request than before, since a homeserver keeps answers for minutes.
  const pollMs = failures > 0 ? failures : reading.fromStream && !reading.isConfirmed ? 0 : POLL_MS;
  const changes = await fetchChanges(request, { since, pollMs, signal });
  reading.isConfirmed = true;
  context.metrics.syncReads.inc({ from: "sync" });
  return changes;
}

/** Null where `/sync` must say it: for this once, or from now on where the homeserver's stream is none to be read. */
async function readStream(
  { log, metrics }: ReadContext,
  { observer, reading, signal }: ReadRun,
  request: Requester,
  since: string,
): Promise<SyncAnswer | null> {
  const options = { since, reader: observer.matrix_user_id, signal };
  const changes = await fetchStream(request, options).catch((error: unknown) => {
    const isUnknown =
      error instanceof MatrixFailure && error.httpStatus === 404 && error.kind !== "transient";
    if (!isUnknown) throw error;
    reading.fromStream = false;
    log.warn("the homeserver has no stream of events: reading /sync instead");
    return null;
  });
  if (changes === null || isBackwards(since, changes.next_batch)) return null;
  if (isOfManyWriters(changes.next_batch)) {
    reading.fromStream = false;
    log.error(
      "several processes of the homeserver write events: reading /sync instead, set MATRIX_READ=sync",
    );
    return null;
  }
  metrics.syncReads.inc({ from: "events" });
  return changes;
}
