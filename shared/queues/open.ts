import { Queue, type ConnectionOptions, type JobsOptions } from "bullmq";
import { JOBS, type JobName, type JobPayload } from "./index.ts";
import { QUEUE_PREFIX } from "../platform/redis-keys.ts";
import type { Log } from "../platform/log.ts";
import type { Counter } from "../platform/metrics.ts";
import { withTimeout } from "../platform/concurrency/with-timeout.ts";
import type { Redis } from "../platform/redis.ts";

export { removeStaleKey } from "./remove-stale-key.ts";

/** How long a caller waits until Redis has taken a wake-up. What is committed does not depend on it. */
const WAKE_LIMIT_MS = 250;

/**
 * Adds a wake-up. Resolves true when Redis took it, false after 250 ms or a failure. It never throws, because the sweeper
 * finds in Postgres what no job woke. The same wake-up added twice is one job.
 */
export type Wake = <N extends JobName>(name: N, payload: JobPayload<N>) => Promise<boolean>;

export type Queues = { readonly [N in JobName]: Queue };

/** Every queue, on one connection that fails fast. */
export function openQueues(redis: Redis, log: Log): Queues {
  const open = (name: JobName) => {
    const queue = new Queue(name, { connection: asConnection(redis), prefix: QUEUE_PREFIX });
    // The connection's own handler logs outages; without a listener here the process would end.
    queue.on("error", (error) => {
      log.debug({ err: error, queue: name }, "queue error");
    });
    return queue;
  };
  return {
    provisioning: open("provisioning"),
    membership: open("membership"),
    "room-sync": open("room-sync"),
    "outbound-message": open("outbound-message"),
    "timeline-consumer": open("timeline-consumer"),
    erasure: open("erasure"),
    maintenance: open("maintenance"),
  };
}

export async function closeQueues(queues: Queues): Promise<void> {
  await Promise.allSettled(Object.values(queues).map((queue) => queue.close()));
}

/** BullMQ accepts an ioredis instance; its type asks for its own copy of the class. */
export function asConnection(redis: Redis): ConnectionOptions {
  return redis;
}

/** BullMQ's options of a job. `reschedule` pulls a job in back-off forward; a plain add does not. */
export function jobOptions<N extends JobName>(
  name: N,
  payload: JobPayload<N>,
  options: { reschedule: boolean },
): JobsOptions {
  const contract = JOBS[name];
  return {
    ...contract.options,
    deduplication: {
      id: contract.deduplicationId(payload as never),
      // A wake-up that arrives while the job runs starts it once more; every other mode loses that wake-up.
      keepLastIfActive: true,
      ...(options.reschedule ? { reschedule: true } : {}),
    },
  };
}

export function createWake(queues: Queues, failures: Counter<"queue">): Wake {
  return async (name, payload) => {
    const added = queues[name].add(name, payload, jobOptions(name, payload, { reschedule: false })).then(
      () => true,
      () => false,
    );
    const isAdded = await withTimeout(added, WAKE_LIMIT_MS, () => false);
    if (!isAdded) failures.inc({ queue: name });
    return isAdded;
  };
}
