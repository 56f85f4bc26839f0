import { DUE_GRACE_MS, findDueWork, type DueJob } from "../../shared/db/due-work.ts";
import { every, type Repeating } from "../../shared/platform/concurrency/every.ts";
import { jobOptions, removeStaleKey, type Queues } from "../../shared/queues/open.ts";
import { JOBS } from "../../shared/queues/index.ts";
import { announceProfiles } from "../../shared/timeline/announce-profiles.ts";
import { appendDueMemberCounts } from "../../shared/timeline/member-counts.ts";
import { publishUserEventOutbox } from "../../shared/timeline/publish-user-events.ts";
import { findDueSent } from "../../shared/db/rooms/room-mirrors.ts";
import { findDueCursors } from "../../shared/db/timeline/consumers.ts";
import { publishMarkedRooms, publishRooms } from "../../shared/timeline/publish.ts";
import { removeStaleStreams } from "../../shared/timeline/remove-stale-streams.ts";
import type { WorkerContext } from "./context.ts";
import type { IsWaiting } from "./run-jobs.ts";
import { createRunWithoutQueue, type RunWithoutQueue } from "./run-without-queue.ts";

const EVERY_MS = 1_000;
const MAX_FOUND = 500;
/** A process publishes how far Matrix has a room within a second of what it closed. What is due for longer, it left. */
const SENT_DUE_MS = 2_000;
/** Rooms that are compared with their streams: in most of them, nothing is missing. */
const MAX_MARKED = 2_000;
/** Work that stays due for this long after its job was added: the deduplication key may name a job that is lost. */
const STUCK_AFTER_MS = 5_000;

/**
 * Finds the due work in Postgres every second and wakes it: Redis may have lost any job. Every jobs process sweeps; the
 * same work found twice is one job. Work that this process keeps until its tenant has a slot is not woken before. While
 * Redis takes no jobs, the process works on rooms without them. The sweeper also publishes what is not published yet.
 */
export function startSweeper(
  context: WorkerContext,
  queues: Queues,
  isWaiting: IsWaiting = () => false,
): Repeating {
  const dueSince = new Map<string, number>();
  const withoutQueue = createRunWithoutQueue(context);
  const sweeping = every(
    EVERY_MS,
    () => sweepOnce(context, queues, { dueSince, isWaiting, withoutQueue }),
    (error) => {
      context.log.warn({ err: error }, "sweeping failed");
    },
  );
  return {
    stop: async () => {
      await sweeping.stop();
      await withoutQueue.stop();
    },
  };
}

type Sweep = { dueSince: Map<string, number>; isWaiting: IsWaiting; withoutQueue: RunWithoutQueue };

async function sweepOnce(
  context: WorkerContext,
  queues: Queues,
  { dueSince, isWaiting, withoutQueue }: Sweep,
): Promise<void> {
  const found = [...(await findDueWork(context.db, MAX_FOUND)), ...(await findDueConsumers(context))];
  const due = found.filter(({ name, payload }) => !isWaiting(name, payload));
  const nowMs = performance.now();
  const keys = new Set(due.map(keyOf));
  for (const key of dueSince.keys()) if (!keys.has(key)) dueSince.delete(key);
  await Promise.all(
    due.map(async (work) => {
      const sinceMs = firstFoundAt(dueSince, keyOf(work), nowMs);
      if (!(await tryToWake(context, queues, work, { sinceMs, nowMs }))) withoutQueue.start(work);
    }),
  );
  await publishMarkedRooms(context, MAX_MARKED);
  await removeStaleStreams(context, MAX_FOUND);
  await publishUserEventOutbox(context, MAX_FOUND);
  context.sent.add(await findDueSent(context.db, { dueForMs: SENT_DUE_MS, limit: MAX_FOUND }));
  await publishRooms(context, await appendDueMemberCounts(context.db, MAX_FOUND));
  await publishRooms(context, await announceProfiles(context.db, MAX_FOUND));
}

function firstFoundAt(dueSince: Map<string, number>, key: string, nowMs: number): number {
  const since = dueSince.get(key) ?? nowMs;
  dueSince.set(key, since);
  return since;
}

function deduplicationIdOf(work: DueJob): string {
  // The payload is that of the contract of the same name, which the compiler cannot follow through the union.
  return JOBS[work.name].deduplicationId(work.payload as never);
}

function keyOf(work: DueJob): string {
  return `${work.name} ${deduplicationIdOf(work)}`;
}

/** False when Redis does not take the job. */
function tryToWake(...args: Parameters<typeof wakeDue>): Promise<boolean> {
  return wakeDue(...args).then(
    () => true,
    () => false,
  );
}

async function wakeDue(
  context: WorkerContext,
  queues: Queues,
  work: DueJob,
  { sinceMs, nowMs }: { sinceMs: number; nowMs: number },
): Promise<void> {
  const queue = queues[work.name];
  if (nowMs - sinceMs > STUCK_AFTER_MS) await removeLostKey(context, queues, work);
  context.metrics.sweeperWakes.inc({ queue: work.name });
  await queue.add(
    work.name,
    work.payload,
    jobOptions(work.name, work.payload as never, { reschedule: true }),
  );
}

/** Removes a deduplication key whose job is in no list: BullMQ would drop every further job with that key. */
async function removeLostKey(context: WorkerContext, queues: Queues, work: DueJob): Promise<void> {
  const jobId = await removeStaleKey(context.redis, queues[work.name], deduplicationIdOf(work));
  if (jobId === null) return;
  context.metrics.keysRepaired.inc();
  context.log.error(
    { queue: work.name, job: jobId },
    "a deduplication key named a job that is lost: removed",
  );
}

/** The rooms that are due for the consumers of this process. */
async function findDueConsumers({ db, consumers }: WorkerContext): Promise<DueJob[]> {
  const names = consumers.map(({ name }) => name);
  const keys = await findDueCursors(db, { consumers: names, dueForMs: DUE_GRACE_MS, limit: MAX_FOUND });
  return keys.map((payload) => ({ name: "timeline-consumer", payload }));
}
