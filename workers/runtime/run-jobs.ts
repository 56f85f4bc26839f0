import { setTimeout as sleep } from "node:timers/promises";
import { DelayedError, Worker, type Job } from "bullmq";
import { JOBS, type JobName } from "../../shared/queues/index.ts";
import { QUEUE_PREFIX } from "../../shared/platform/redis-keys.ts";
import type { Redis } from "../../shared/platform/redis.ts";
import { asConnection } from "../../shared/queues/open.ts";
import type { JobResult, WorkerContext } from "./context.ts";
import { HANDLERS } from "../jobs/index.ts";
import { LeaseLost } from "./room-lease.ts";

/** A killed worker's jobs are taken over after at most both together. */
const LOCK_MS = 4_000;
const STALLED_CHECK_MS = 2_000;

/** What runs has this long to end when the process is asked to stop; without Redis, a worker would wait for ever. */
const CLOSE_LIMIT_MS = 4_000;

/** What this process does of a queue: jobs that it may run at a time, that it runs, and that it has taken up so far. */
export type QueueProgress = { queue: JobName; places: number; running: number; taken: number };

export type RunningJobs = { progress: () => readonly QueueProgress[]; close: () => Promise<void> };

/** Runs every queue's handler in this process. `redis` is a connection of `openWorkerRedis`. */
export function runJobs(context: WorkerContext, redis: Redis): RunningJobs {
  const progress = (Object.keys(HANDLERS) as JobName[]).map((queue): QueueProgress => ({
    queue,
    places: HANDLERS[queue].concurrency,
    running: 0,
    taken: 0,
  }));
  const workers = progress.map((own) => runQueue(context, redis, own));
  return {
    progress: () => progress,
    close: async () => {
      const closed = Promise.allSettled(workers.map((worker) => worker.close()));
      await Promise.race([closed, sleep(CLOSE_LIMIT_MS, undefined, { ref: false })]);
    },
  };
}

function runQueue(context: WorkerContext, redis: Redis, progress: QueueProgress): Worker {
  const { queue: name, places: concurrency } = progress;
  const { handle } = HANDLERS[name];
  const run = async (job: Job, token: string | undefined) => {
    const payload = JOBS[name].payload.parse(job.data);
    const log = context.log.child({ queue: name, job: job.id });
    // The contract's schema and the handler are of the same queue, which the compiler cannot follow through the union.
    const result = await handle({ ...context, log }, payload as never);
    await settle(job, token, result);
  };
  const worker = new Worker<unknown, unknown>(
    name,
    async (job, token) => {
      progress.taken++;
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
      // A job is a wake-up: a worker that was killed many times over it is no reason to throw it away.
      maxStalledCount: 1_000_000,
      runRetryDelay: 1_000,
    },
  );
  watch(context, worker, name);
  return worker;
}

/** Work that is due later goes to that time, so that operators see it waiting. */
async function settle(job: Job, token: string | undefined, result: JobResult): Promise<void> {
  if (result.retryInMs === null) return;
  await job.moveToDelayed(Date.now() + result.retryInMs, token);
  throw new DelayedError();
}

function watch(context: WorkerContext, worker: Worker, queue: JobName): void {
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
    context.log.warn({ queue, job }, "job of a dead worker taken over");
  });
  worker.on("error", (error) => {
    context.log.debug({ queue, err: error }, "queue connection error");
  });
}
