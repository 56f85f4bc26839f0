import { withTimeout } from "../../shared/platform/concurrency/with-timeout.ts";
import type { Log } from "../../shared/platform/log.ts";
import type { ApiMetrics } from "../metrics.ts";
import { createPerform, type PerformDeps } from "./perform.ts";
import type { SideEffect } from "./side-effects.ts";

const MAX_TASKS = 1_000;
const DRAIN_LIMIT_MS = 2_000;

/** Performs side effects in the background: the request that causes them does not wait for them or fail with them. */
export type AfterCommit = {
  perform: (effects: readonly SideEffect[]) => void;
  /** Waits for what is running, 2 s at most. */
  drain: () => Promise<void>;
};

/**
 * What happens after a commit. All side effects go to Redis: they wake jobs, and they publish timelines and user
 * events. While Redis is away, or 1,000 tasks are running, side effects are dropped and left to the sweeper.
 */
export function createAfterCommit(
  deps: PerformDeps & { log: Log; metrics: Pick<ApiMetrics, "dropped"> },
): AfterCommit {
  const { redis, log, metrics } = deps;
  const performNow = createPerform(deps);
  const tasks = new Set<Promise<void>>();
  const start = (effects: readonly SideEffect[]): void => {
    const task = performNow(effects)
      .catch((error: unknown) => {
        metrics.dropped.inc({ reason: "failed" });
        const types = [...new Set(effects.map(({ type }) => type))];
        log.debug({ err: error, types }, "side effects are left to the sweeper");
      })
      .then(() => void tasks.delete(task));
    tasks.add(task);
  };
  return {
    perform(effects) {
      if (effects.length === 0) return;
      if (redis.status !== "ready") metrics.dropped.inc({ reason: "redis_down" });
      else if (tasks.size >= MAX_TASKS) metrics.dropped.inc({ reason: "busy" });
      else start(effects);
    },
    drain: () =>
      withTimeout(Promise.allSettled(tasks), DRAIN_LIMIT_MS, () => undefined).then(() => undefined),
  };
}
