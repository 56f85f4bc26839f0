import { startHealthMonitor, type HealthMonitor } from "../../shared/platform/stall/health-monitor.ts";
import { WRITABLE_KEY } from "../../shared/platform/redis-keys.ts";
import type { Queues } from "../../shared/queues/open.ts";
import type { Redis } from "../../shared/platform/redis.ts";
import type { StallLimits } from "../../shared/platform/stall/stall-detector.ts";
import { queueProgressToken } from "./queue-progress.ts";
import type { RunningJobs } from "./run-jobs.ts";
import type { Observers } from "../inbound/observers/observers.ts";

/** BullMQ replaces a half-open connection of a worker within 20 s. */
const QUEUE_LIMITS: StallLimits = { everyMs: 10_000, limitMs: 30_000 };
/** One run of an observer's loop: `/sync` for 40 s at most, 30 s for each redaction, statements of 12 s, a pause of 10 s. */
const OBSERVER_LIMITS: StallLimits = { everyMs: 10_000, limitMs: 600_000 };

/** Called with what is stalled, and why the process must be restarted. */
export type OnStalled = (about: { queue: string } | { observer: string }, why: string) => void;

/**
 * Reports a queue of which this process starts no job though one waits and it may run one more. Redis must answer and
 * take writes on `redis`, which is not the workers' connection: without that, a restart would not help.
 */
export function watchQueues(
  deps: { redis: Redis; queues: Queues; jobs: RunningJobs; onStalled: OnStalled },
  limits = QUEUE_LIMITS,
): HealthMonitor {
  const { redis, queues, jobs, onStalled } = deps;
  const sample = async ({ queue: name, ...own }: ReturnType<RunningJobs["progress"]>[number]) => {
    const queue = queues[name];
    const [nextJobId, isPaused, isMaxed] = await Promise.all([
      redis.lindex(queue.toKey("wait"), -1),
      queue.isPaused(),
      queue.isMaxed(),
    ]);
    return [name, queueProgressToken({ ...own, nextJobId, isHeldBack: isPaused || isMaxed })] as const;
  };
  return startHealthMonitor({
    limits,
    sample: async () => {
      const progress = jobs.progress();
      await redis.set(WRITABLE_KEY, "1", "EX", 60);
      const tokens = await Promise.all(progress.map(sample));
      return new Map(tokens.flatMap(([name, token]) => (token === null ? [] : [[name, token]])));
    },
    onStalled: (queue) => {
      onStalled({ queue }, "takes no job up though some wait, places are free and Redis answers");
    },
  });
}

/** Reports an observer whose loop neither reads nor fails. */
export function watchObservers(
  deps: { observers: Observers; onStalled: OnStalled },
  limits = OBSERVER_LIMITS,
): HealthMonitor {
  return startHealthMonitor({
    limits,
    sample: () => Promise.resolve(deps.observers.progress()),
    onStalled: (observer) => {
      deps.onStalled({ observer }, "an observer hangs: it neither reads nor fails, and keeps its lease");
    },
  });
}
