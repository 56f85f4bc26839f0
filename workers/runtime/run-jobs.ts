import { DelayedError, Worker, type Job } from "bullmq";
import { withTimeout } from "../../shared/platform/concurrency/with-timeout.ts";
import { gaugeOfEach } from "../../shared/platform/metrics.ts";
import { JOBS, type JobName, type JobPayload } from "../../shared/queues/index.ts";
import { QUEUE_PREFIX } from "../../shared/platform/redis-keys.ts";
import type { Redis } from "../../shared/platform/redis.ts";
import { asConnection } from "../../shared/queues/open.ts";
import { DONE, type JobResult, type WorkerContext } from "./context.ts";
import { HANDLERS } from "../jobs/index.ts";
import { LeaseLost } from "./room-lease.ts";
import { createTenantSemaphore, type TenantSemaphore } from "./tenant-semaphore.ts";

/** Another worker repeats the jobs of a killed one after at most both together. */
const LOCK_MS = 4_000;
const STALLED_CHECK_MS = 2_000;

/** Running jobs have this long to end when the process stops. Without Redis, closing a worker never ends. */
const CLOSE_LIMIT_MS = 4_000;

/** Of one queue: the jobs that this process may run at a time, that it runs, and that it has started so far. */
export type QueueProgress = { queue: JobName; concurrency: number; running: number; started: number };

/** Whether a job's work waits in this process while its tenant has all its slots: one of them will wake it. */
export type IsWaiting = <N extends JobName>(queue: N, payload: JobPayload<N>) => boolean;

export type RunningJobs = {
  progress: () => readonly QueueProgress[];
  isWaiting: IsWaiting;
  close: () => Promise<void>;
};

type Payload = JobPayload<JobName>;
type QueueRun = { name: JobName; progress: QueueProgress; semaphore: TenantSemaphore<Payload> };

/** Runs every queue's handler in this process. `redis` is a connection of `openWorkerRedis`. */
export function runJobs(context: WorkerContext, redis: Redis): RunningJobs {
  const runs = (Object.keys(HANDLERS) as JobName[]).map((name): QueueRun => {
    const { slots } = HANDLERS[name];
    return {
      name,
      progress: { queue: name, concurrency: slots.perProcess, running: 0, started: 0 },
      semaphore: createTenantSemaphore(slots),
    };
  });
  const workers = runs.map((run) => runQueue(context, redis, run));
  const byName = new Map(runs.map((run) => [run.name, run]));
  gaugeOfEach(
    context.metrics.registry,
    {
      name: "omc_jobs_waiting",
      help: "Jobs whose work waits in this process because its tenant has all its slots of the queue",
    },
    "queue",
    () => runs.map(({ name, semaphore }) => [name, semaphore.waiting()] as const),
  );
  return {
    progress: () => runs.map(({ progress }) => progress),
    isWaiting: (name, payload) =>
      byName.get(name)?.semaphore.isWaiting(tenantOf(payload), keyOf(name, payload)) ?? false,
    close: async () => {
      const closed = Promise.allSettled(workers.map((worker) => worker.close()));
      await withTimeout(closed, CLOSE_LIMIT_MS, () => undefined);
    },
  };
}

/** The schedules are of no tenant, and share one's slots. */
function tenantOf(payload: Payload): string {
  return "tenantId" in payload ? payload.tenantId : "all";
}

// The contract, its payload and the handler are of the same queue, which the compiler cannot follow through the union.
function keyOf(name: JobName, payload: Payload): string {
  return JOBS[name].deduplicationId(payload as never);
}

function runQueue(context: WorkerContext, redis: Redis, run: QueueRun): Worker {
  const { name, progress } = run;
  const worker = new Worker<unknown, unknown>(
    name,
    async (job, token) => {
      progress.started++;
      progress.running++;
      try {
        await delayIfDueLater(job, token, await runInSlot(context, run, job));
      } finally {
        progress.running--;
      }
    },
    {
      connection: asConnection(redis),
      prefix: QUEUE_PREFIX,
      concurrency: progress.concurrency,
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

/** Runs a job in a slot of its tenant. Without a slot the job ends, and its work is woken when a slot is released. */
async function runInSlot(
  context: WorkerContext,
  { name, semaphore }: QueueRun,
  job: Job,
): Promise<JobResult> {
  const payload = JOBS[name].payload.parse(job.data);
  const tenantId = tenantOf(payload);
  if (!semaphore.acquire(tenantId, keyOf(name, payload), payload)) return DONE;
  const own = {
    ...context,
    log: context.log.child({ queue: name, job: job.id }),
    homeserver: (homeserverId: string) => context.homeserver(homeserverId, tenantId),
    isContended: () => semaphore.isContended(tenantId),
  };
  try {
    return await HANDLERS[name].handle(own, payload as never);
  } finally {
    const next = semaphore.release(tenantId);
    if (next !== null) void context.wake(name, next);
  }
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
