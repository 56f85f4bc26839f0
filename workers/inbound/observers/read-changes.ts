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
 * What happened since a position; waits for something to happen. Reads the homeserver's event stream where that is
 * allowed and enough, else `/sync`. After a start `/sync` comes first: a restored homeserver may not have reached the
 * position yet, and its stream would then wait without an error.
 */
export async function readChanges(
  context: ReadContext,
  run: ReadRun,
  request: Requester,
  { since, failures }: { since: string; failures: number },
): Promise<SyncResponse> {
  const { reading, signal } = run;
  const isStreamDue = reading.fromStream && reading.isConfirmed && failures === 0;
  const streamed = isStreamDue ? await readStream(context, run, request, since) : "not-enough";
  if (typeof streamed === "object") return streamed;
  const changes = await fetchChanges(request, { since, pollMs: pollMsOf(reading, failures), signal });
  reading.isConfirmed = true;
  if (streamed === "no-stream") {
    reading.fromStream = false;
    context.log.warn("the homeserver has no event stream: reading /sync instead");
  }
  context.metrics.syncReads.inc({ from: "sync" });
  return changes;
}

/**
 * After a failure the response comes at once, and each call differs from the one before, since homeservers keep responses
 * for minutes. The first `/sync` before a stream returns at once too.
 */
function pollMsOf({ fromStream, isConfirmed }: ReadRun["reading"], failures: number): number {
  if (failures > 0) return failures;
  return fromStream && !isConfirmed ? 0 : POLL_MS;
}

/**
 * What the stream returns, or why `/sync` must be read instead. `not-enough`: the stream does not cover this once.
 * `no-stream`: the path is not found; when `/sync` is found, the homeserver has no stream.
 */
async function readStream(
  { log, metrics }: ReadContext,
  { observer, reading, signal }: ReadRun,
  request: Requester,
  since: string,
): Promise<SyncResponse | "not-enough" | "no-stream"> {
  const options = { since, reader: observer.matrix_user_id, signal };
  const changes = await fetchStream(request, options).catch((error: unknown) => {
    if (error instanceof MatrixFailure && error.httpStatus === 404) return "no-stream" as const;
    throw error;
  });
  if (changes === "no-stream") return changes;
  // The observer may have left a room of which `/sync` shows nothing any more.
  if (changes === null) reading.roomsComparedAtMs = null;
  if (changes === null || isBackwards(since, changes.next_batch)) return "not-enough";
  if (isOfManyWriters(changes.next_batch)) {
    reading.fromStream = false;
    log.error(
      "several processes of the homeserver write events: reading /sync instead, set MATRIX_READ=sync",
    );
    return "not-enough";
  }
  metrics.syncReads.inc({ from: "events" });
  return changes;
}
