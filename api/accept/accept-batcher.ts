import { isRepeatable } from "../../shared/db/connection/failures.ts";
import type { ActAcceptance, NewAct } from "../../shared/db/acts/accept-acts.ts";
import type { Acceptance, NewMessage } from "../../shared/db/messages/accept/accept-messages.ts";
import {
  lockedError,
  MAX_BATCH_MESSAGES,
  RoomQueues,
  type End,
  type Part,
  type RoomRequest,
} from "./room-queues.ts";

/** Writes of each way at the same time, each on one connection: locked rooms leave the pool to the others. */
const MAX_WRITES = 4;
const MAX_ATTEMPTS = 5;
/** The same as the limit of a statement, see `openDb`. */
const MAX_WAIT_MS = 10_000;

export type Accept = (message: NewMessage) => Promise<Acceptance>;
export type AcceptAct = (act: NewAct) => Promise<ActAcceptance>;
type Outcome = { outcome: string };
type Written<O extends Outcome> = O | { outcome: "room_locked" };
type Write<R, O extends Outcome> = (
  requests: readonly R[],
  options: { skipsLocked: boolean },
) => Promise<Written<O>[]>;
type OnWritten<O extends Outcome> = (outcomes: readonly Written<O>[]) => void;

/** How the write of a part ended. `written`: its requests have their outcomes. */
type Result = { type: "written" } | { type: "locked" } | { type: "failed"; error: unknown };

/**
 * Accepts messages and acts in batches. A lone one is written at once; those that arrive during a write share the next
 * one. `write` is `acceptAll` on the pool, `onWritten` receives the outcome of each batch before the requests do.
 * A room that two batches find locked, and each room of a batch that fails for a passing reason, is written by itself:
 * then a locked room, or a message that makes its batch fail, delays no other room.
 * @throws AppError `unavailable` after a message has waited for its room's lock for 10 s, and at once while 4,000 messages
 *   wait to be written, or 1,000 of a locked room.
 */
export function createAcceptBatcher<R extends RoomRequest = NewMessage, O extends Outcome = Acceptance>(
  write: Write<R, O>,
  onWritten: OnWritten<O>,
  now: () => number,
): (request: R) => Promise<O> {
  const queues = new RoomQueues<R, O>();
  const running = { together: 0, alone: 0 };
  let isScheduled = false;

  const run = async (parts: readonly Part<R, O>[], way: keyof typeof running): Promise<void> => {
    running[way]++;
    const results = await writeParts(parts, way, write, onWritten);
    for (const [index, part] of parts.entries()) {
      queues.end(part, endPart(part, results[index] ?? { type: "written" }, now()));
    }
    running[way]--;
    schedule();
  };
  const startDue = (): void => {
    isScheduled = false;
    if (isDue()) void run(queues.takeTogether(), "together");
    while (running.alone < MAX_WRITES) {
      const part = queues.takeAlone();
      if (!part) return;
      void run([part], "alone");
    }
  };
  const isDue = (): boolean => {
    if (running.together === 0) return queues.ready > 0;
    return running.together < MAX_WRITES && queues.ready >= MAX_BATCH_MESSAGES;
  };
  const schedule = (): void => {
    if (isScheduled) return;
    isScheduled = true;
    // Requests that arrive in the same iteration of the event loop share the batch.
    setImmediate(startDue);
  };
  return (request) =>
    new Promise((resolve, reject) => {
      queues.add({ request, sinceMs: now(), attempts: 0, resolve, reject });
      schedule();
    });
}

/** Writes parts in one transaction, and settles the requests that have an outcome. */
async function writeParts<R extends RoomRequest, O extends Outcome>(
  parts: readonly Part<R, O>[],
  way: "together" | "alone",
  write: Write<R, O>,
  onWritten: OnWritten<O>,
): Promise<Result[]> {
  const requests = parts.flatMap((part) => part.requests);
  try {
    const all = await write(
      requests.map(({ request }) => request),
      { skipsLocked: way === "together" },
    );
    onWritten(all);
    const outcomes = new Map(requests.map((request, index) => [request, all[index]]));
    return parts.map((part) => settlePart(part, outcomes));
  } catch (error) {
    return parts.map(() => ({ type: "failed", error }));
  }
}

/** All requests of a room are locked, or none. */
function settlePart<R extends RoomRequest, O extends Outcome>(
  { requests }: Part<R, O>,
  outcomes: ReadonlyMap<unknown, Written<O> | undefined>,
): Result {
  for (const request of requests) {
    const outcome = outcomes.get(request);
    if (outcome?.outcome === "room_locked") return { type: "locked" };
    if (outcome) request.resolve(outcome as O);
    else request.reject(new Error("the batch has no outcome for a message"));
  }
  return { type: "written" };
}

/** Decides how the requests of a part go on, and rejects those that do not. */
function endPart<R extends RoomRequest, O>(
  { queue, requests }: Part<R, O>,
  result: Result,
  nowMs: number,
): End<R, O> {
  const { way, misses, batchSize } = queue;
  const rejectWhere = (isOver: (request: Part<R, O>["requests"][number]) => boolean, error: unknown) =>
    requests.filter((request) => {
      const over = isOver(request);
      if (over) request.reject(error);
      return !over;
    });
  if (result.type === "written") {
    const isWhole = batchSize === MAX_BATCH_MESSAGES;
    const next = Math.min(batchSize * 2, MAX_BATCH_MESSAGES);
    return { keep: [], way: isWhole ? "together" : "alone", misses: 0, batchSize: next };
  }
  if (result.type === "locked") {
    const keep = rejectWhere(({ sinceMs }) => nowMs - sinceMs >= MAX_WAIT_MS, lockedError());
    const isFirst = way === "together" && misses === 0;
    return { keep, way: isFirst ? "together" : "alone", misses: misses + 1, batchSize };
  }
  const { error } = result;
  if (!isRepeatable(error)) return { keep: rejectWhere(() => true, error), way, misses, batchSize };
  const alone = { way: "alone", misses, batchSize } as const;
  if (way === "together") return { ...alone, keep: requests };
  // One by one, so that only the faulty message fails.
  if (requests.length > 1) return { ...alone, keep: requests, batchSize: 1 };
  return { ...alone, keep: rejectWhere((request) => ++request.attempts >= MAX_ATTEMPTS, lockedError(error)) };
}
