import type { WorkerContext } from "../../runtime/context.ts";
import type { Requester } from "../../matrix/http/client.ts";
import { MatrixFailure } from "../../matrix/http/failure.ts";
import { fetchChanges, POLL_MS, type SyncResponse } from "../../matrix/sync/fetch-changes.ts";
import { fetchStream } from "../../matrix/sync/fetch-stream.ts";
import { isBackwards, isOfManyWriters } from "../../matrix/sync/position.ts";
import type { WorkerMetrics } from "../../runtime/metrics.ts";
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
): Promise<SyncResponse> {
  const { reading, signal } = run;
  const isStreamDue = reading.fromStream && reading.isConfirmed && failures === 0;
  const streamed = isStreamDue ? await readStream(context, run, request, since) : "untold";
  if (typeof streamed === "object") return streamed;
  // After a failure: answer at once, and by another request than before, since a homeserver keeps answers for minutes.
  const pollMs = failures > 0 ? failures : reading.fromStream && !reading.isConfirmed ? 0 : POLL_MS;
  const changes = await fetchChanges(request, { since, pollMs, signal });
  reading.isConfirmed = true;
  if (streamed === "unknown") {
    reading.fromStream = false;
    context.log.warn("the homeserver has no stream of events: reading /sync instead");
  }
  context.metrics.syncReads.inc({ from: "sync" });
  return changes;
}

/**
 * Or why `/sync` must say it: `untold` by the stream for this once; `unknown` to whatever answered, which has no stream if
 * it answers `/sync`.
 */
async function readStream(
  { log, metrics }: ReadContext,
  { observer, reading, signal }: ReadRun,
  request: Requester,
  since: string,
): Promise<SyncResponse | "untold" | "unknown"> {
  const options = { since, reader: observer.matrix_user_id, signal };
  const changes = await fetchStream(request, options).catch((error: unknown) => {
    if (error instanceof MatrixFailure && error.httpStatus === 404) return "unknown" as const;
    throw error;
  });
  if (changes === "unknown") return changes;
  if (changes === null || isBackwards(since, changes.next_batch)) return "untold";
  if (isOfManyWriters(changes.next_batch)) {
    reading.fromStream = false;
    log.error(
      "several processes of the homeserver write events: reading /sync instead, set MATRIX_READ=sync",
    );
    return "untold";
  }
  metrics.syncReads.inc({ from: "events" });
  return changes;
}
