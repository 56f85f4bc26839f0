import { errorText } from "../../shared/contract/errors.ts";
import {
  advanceCursor,
  deleteCursor,
  findDueCursor,
  parkEntries,
  rescheduleCursor,
  type DueCursor,
} from "../../shared/db/timeline/consumers.ts";
import { listEntriesAfter } from "../../shared/db/timeline/pages.ts";
import { withTimeout } from "../../shared/platform/concurrency/with-timeout.ts";
import type { JobPayload } from "../../shared/queues/index.ts";
import { numbersOf, type Delivery } from "../../shared/timeline/consumers/define.ts";
import { planDeliveries } from "../../shared/timeline/consumers/plan-deliveries.ts";
import type { RunningConsumer } from "../consumers/deliver.ts";
import { backoffMs } from "../outbound/retry.ts";
import { DONE, type JobResult, type WorkerContext } from "../runtime/context.ts";

/** Entries that are read at once, and after which the cursor moves. A killed process delivers as many again, at most. */
const PAGE_ENTRIES = 100;
/** A room that has more than it can deliver in this time goes behind the rooms that wait. */
const SLICE_MS = 2_000;
const DELIVER_LIMIT_MS = 30_000;
const PARK_AFTER_FAILURES = 10;

/**
 * Delivers a room's entries after one consumer's cursor. It claims nothing: of two jobs that run at once, the one that
 * finds the cursor moved ends.
 */
export async function handleTimelineConsumer(
  unbound: WorkerContext,
  payload: JobPayload<"timeline-consumer">,
): Promise<JobResult> {
  // A process of another version may know other consumers. The mark stays, and the sweeper of such a process finds it.
  const consumer = unbound.consumers.find(({ name }) => name === payload.consumer);
  if (!consumer) return DONE;
  const context = { ...unbound, log: unbound.log.child({ consumer: consumer.name, room: payload.roomId }) };
  const endsAtMs = performance.now() + SLICE_MS;
  const isOver = () => context.stopping.aborted || performance.now() > endsAtMs;
  do {
    const cursor = await findDueCursor(context.db, payload);
    if (cursor === null) return DONE;
    if (cursor.isDeleted) {
      await deleteCursor(context.db, cursor);
      return DONE;
    }
    if (cursor.waitMs > 0) return { retryInMs: cursor.waitMs };
    const result = await deliverPage(context, consumer, cursor, isOver);
    if (result !== null) return result;
  } while (!isOver());
  return context.stopping.aborted ? DONE : { retryInMs: 0 };
}

/** Null when the room has more to deliver. */
async function deliverPage(
  context: WorkerContext,
  consumer: RunningConsumer,
  cursor: DueCursor,
  isOver: () => boolean,
): Promise<JobResult | null> {
  const rows = await listEntriesAfter(context.db, cursor, PAGE_ENTRIES);
  let reached = cursor.position;
  for (const delivery of planDeliveries(cursor, rows, PAGE_ENTRIES)) {
    const error = await tryToDeliver(context, consumer, delivery);
    if (error !== null && !context.stopping.aborted)
      return settleFailure(context, cursor, { reached, delivery, error });
    if (error !== null) break;
    context.metrics.consumerDelivered.inc({ consumer: consumer.name });
    reached = numbersOf(delivery).last;
    if (isOver()) break;
  }
  // Stopped within the first delivery: its earlier failures still count.
  if (context.stopping.aborted && reached === cursor.position) return DONE;
  const moved = await advanceCursor(context.db, cursor, reached);
  return moved?.isDue === true ? null : DONE;
}

/** Returns why it failed, null when it did not. */
async function tryToDeliver(
  { db, log, stopping }: WorkerContext,
  { deliver }: RunningConsumer,
  delivery: Delivery,
): Promise<string | null> {
  const ending = new AbortController();
  const abort = () => {
    ending.abort();
  };
  // Not AbortSignal.any: it keeps a reference for each delivery as long as the process runs.
  stopping.addEventListener("abort", abort);
  try {
    await withTimeout(deliver(delivery, { db, log, signal: ending.signal }), DELIVER_LIMIT_MS, () => {
      abort();
      throw new Error("the consumer took too long");
    });
    return null;
  } catch (error) {
    return errorText(error);
  } finally {
    stopping.removeEventListener("abort", abort);
  }
}

type Failure = { reached: number; delivery: Delivery; error: string };

/** Keeps a failed try with the cursor; the tenth parks what was to be delivered. Null as above. */
async function settleFailure(
  { db, log, metrics, chance }: WorkerContext,
  cursor: DueCursor,
  { reached, delivery, error }: Failure,
): Promise<JobResult | null> {
  const { consumer } = cursor;
  const { first, last } = numbersOf(delivery);
  // What was delivered before this one has ended the earlier failures.
  const earlier = reached > cursor.position ? 0 : cursor.attempts;
  const attempts = earlier + 1;
  if (attempts >= PARK_AFTER_FAILURES) {
    if (!(await parkEntries(db, cursor, { first, last, error }))) return DONE;
    metrics.consumerParked.inc({ consumer });
    log.error({ number: first, last, reason: error }, "an entry is parked: it failed ten times");
    return null;
  }
  const delayMs = backoffMs({ attempts: earlier, retryAfterMs: null }, chance());
  if (!(await rescheduleCursor(db, cursor, { reached, attempts, delayMs, error }))) return DONE;
  log.warn({ number: first, attempts, delayMs, reason: error }, "a delivery failed: rescheduled");
  return { retryInMs: delayMs };
}
