import { DelayedError, Worker, type Job } from "bullmq";
import { withTimeout } from "../../shared/platform/concurrency/with-timeout.ts";
import { JOBS, type JobName } from "../../shared/queues/index.ts";
import { QUEUE_PREFIX } from "../../shared/platform/redis-keys.ts";
import type { Redis } from "../../shared/platform/redis.ts";
import { asConnection } from "../../shared/queues/open.ts";
import type { JobResult, WorkerContext } from "./context.ts";
import { HANDLERS } from "../jobs/index.ts";
import { LeaseLost } from "./room-lease.ts";

/** Another worker repeats the jobs of a killed one after at most both together. */
const LOCK_MS = 4_000;
const STALLED_CHECK_MS = 2_000;

/** Running jobs have this long to end when the process stops. Without Redis, closing a worker never ends. */
const CLOSE_LIMIT_MS = 4_000;

/** Of one queue: the jobs that this process may run at a time, that it runs, and that it has started so far. */
export type QueueProgress = { queue: JobName; concurrency: number; running: number; started: number };

export type RunningJobs = { progress: () => readonly QueueProgress[]; close: () => Promise<void> };

/** Runs every queue's handler in this process. `redis` is a connection of `openWorkerRedis`. */
export function runJobs(context: WorkerContext, redis: Redis): RunningJobs {
  const progress = (Object.keys(HANDLERS) as JobName[]).map((queue): QueueProgress => ({
    queue,
    concurrency: HANDLERS[queue].concurrency,
    running: 0,
    started: 0,
  }));
  const workers = progress.map((own) => runQueue(context, redis, own));
  return {
    progress: () => progress,
    close: async () => {
      const closed = Promise.allSettled(workers.map((worker) => worker.close()));
      await withTimeout(closed, CLOSE_LIMIT_MS, () => undefined);
    },
  };
}

function runQueue(context: WorkerContext, redis: Redis, progress: QueueProgress): Worker {
  const { queue: name, concurrency } = progress;
  const { handle } = HANDLERS[name];
  const run = async (job: Job, token: string | undefined) => {
    const payload = JOBS[name].payload.parse(job.data);
    const log = context.log.child({ queue: name, job: job.id });
    // The contract's schema and the handler are of the same queue, which the compiler cannot follow through the union.
    const result = await handle({ ...context, log }, payload as never);
    await delayIfDueLater(job, token, result);
  };
  const worker = new Worker<unknown, unknown>(
    name,
    async (job, token) => {
      progress.started++;
      progress.running++;
      try {
        await run(job, token);
      } finally {
        progress.running--;
      }
    },
    {
      connection: asConnection(redis),
      prefix: QUEUE_PREFIX,
      concurrency,
      lockDuration: LOCK_MS,
      stalledInterval: STALLED_CHECK_MS,
      // A job is a wake-up: it must not be dropped because workers were killed while they ran it.
      maxStalledCount: 1_000_000,
      runRetryDelay: 1_000,
    },
  );
  countOutcomes(context, worker, name);
  return worker;
}

/** Delays the job of work that is due later, so that operators see that it waits. */
async function delayIfDueLater(job: Job, token: string | undefined, result: JobResult): Promise<void> {
  if (result.retryInMs === null) return;
  await job.moveToDelayed(Date.now() + result.retryInMs, token);
  throw new DelayedError();
}

function countOutcomes(context: WorkerContext, worker: Worker, queue: JobName): void {
  worker.on("completed", () => {
    context.metrics.jobs.inc({ queue, outcome: "completed" });
  });
  worker.on("failed", (job, error) => {
    context.metrics.jobs.inc({ queue, outcome: "failed" });
    const level = error instanceof LeaseLost ? "warn" : "error";
    context.log[level]({ queue, job: job?.id, err: error }, "job failed");
  });
  worker.on("stalled", (job) => {
    context.metrics.jobs.inc({ queue, outcome: "stalled" });
    context.log.warn({ queue, job }, "job of a dead worker is repeated");
  });
  worker.on("error", (error) => {
    context.log.debug({ queue, err: error }, "queue connection error");
  });
}
