import { startHealthMonitor, type HealthMonitor } from "../../shared/platform/stall/health-monitor.ts";
import { WRITABLE_KEY } from "../../shared/platform/redis-keys.ts";
import type { Queues } from "../../shared/queues/open.ts";
import type { Redis } from "../../shared/platform/redis.ts";
import type { StallLimits } from "../../shared/platform/stall/stall-detector.ts";
import { queueProgressToken } from "./queue-progress.ts";
import type { RunningJobs } from "./run-jobs.ts";
import type { Observers } from "../inbound/observers/observers.ts";

/** A worker's connection that has died unseen is replaced within 20 s. */
const QUEUE_LIMITS: StallLimits = { everyMs: 10_000, limitMs: 30_000 };
/** In one turn: `/sync` for 40 s at most, calls of 30 s for each double, statements of 12 s, a rest of 10 s. */
const OBSERVER_LIMITS: StallLimits = { everyMs: 10_000, limitMs: 600_000 };

/** Hears why the process cannot go on, and with what. */
export type OnStalled = (about: { queue: string } | { observer: string }, why: string) => void;

/**
 * Tells of a queue that this process takes nothing up from though a job waits, places are free, and Redis answers and
 * takes writes on `redis`, which is not the connection of the workers: a Redis that does neither is no reason.
 */
export function watchQueues(
  deps: { redis: Redis; queues: Queues; jobs: RunningJobs; onStalled: OnStalled },
  limits = QUEUE_LIMITS,
): HealthMonitor {
  const { redis, queues, jobs, onStalled } = deps;
  const lookAt = async ({ queue: name, ...own }: ReturnType<RunningJobs["progress"]>[number]) => {
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
    look: async () => {
      const progress = jobs.progress();
      await redis.set(WRITABLE_KEY, "1", "EX", 60);
      const seen = await Promise.all(progress.map(lookAt));
      return new Map(seen.flatMap(([name, mark]) => (mark === null ? [] : [[name, mark]])));
    },
    onStalled: (queue) => {
      onStalled({ queue }, "takes no job up though some wait, places are free and Redis answers");
    },
  });
}

/** Tells of an observer whose loop does not come around, neither reading nor failing. */
export function watchObservers(
  deps: { observers: Observers; onStalled: OnStalled },
  limits = OBSERVER_LIMITS,
): HealthMonitor {
  return startHealthMonitor({
    limits,
    look: () => Promise.resolve(deps.observers.progress()),
    onStalled: (observer) => {
      deps.onStalled({ observer }, "an observer hangs: it neither reads nor fails, and keeps its lease");
    },
  });
}
