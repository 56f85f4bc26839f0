import type { Accepted, IdleRoom } from "../../shared/db/messages/messages.ts";
import type { Db } from "../../shared/db/connection/open.ts";
import type { Log } from "../../shared/platform/log.ts";
import { publishFailed, publishPending } from "../../shared/timeline/publish-unnumbered.ts";
import type { Wake } from "../../shared/queues/open.ts";
import type { Redis } from "../../shared/platform/redis.ts";
import { publishUserEventOutbox } from "../../shared/timeline/publish-user-events.ts";
import { publishRooms } from "../../shared/timeline/publish.ts";
import type { SideEffects, WakeCall } from "../mutations/side-effects.ts";
import { createSingleFlight } from "../../shared/platform/concurrency/single-flight.ts";
import type { ApiMetrics } from "../metrics.ts";

const TASKS_AT_MOST = 1_000;
const NOTICES_AT_ONCE = 500;
const DRAIN_LIMIT_MS = 2_000;

/** Tells the rest of the house what was committed, without keeping the caller; what is lost the sweeper finds. */
export type AfterCommit = {
  tell: (sideEffects: SideEffects) => void;
  /** Wakes rooms that messages are about to be accepted for, see `acceptMessages`. */
  wakeRooms: (idle: readonly IdleRoom[]) => void;
  /** Shows accepted messages to their rooms. */
  tellAccepted: (accepted: readonly Accepted[]) => void;
  /** Waits for what is under way, 2 s at most. */
  drain: () => Promise<void>;
};

export type AfterCommitDeps = {
  db: Db;
  redis: Redis;
  wake: Wake;
  log: Log;
  metrics: Pick<ApiMetrics, "dropped" | "messagesDead" | "publishLag">;
};

export function createAfterCommit(deps: AfterCommitDeps): AfterCommit {
  const tasks = new Set<Promise<void>>();
  const start = (what: string, work: () => Promise<unknown>): void => {
    if (deps.redis.status !== "ready") return void deps.metrics.dropped.inc({ reason: "redis_down" });
    if (tasks.size >= TASKS_AT_MOST) return void deps.metrics.dropped.inc({ reason: "busy" });
    const task = work()
      .catch((error: unknown) => {
        deps.metrics.dropped.inc({ reason: "failed" });
        deps.log.debug({ err: error, what }, "left to the sweeper");
      })
      .then(() => void tasks.delete(task));
    tasks.add(task);
  };
  const tellNotices = createSingleFlight(() => publishUserEventOutbox(deps, NOTICES_AT_ONCE));
  return {
    tell({ wakes, roomIds, failed }) {
      for (const { error } of failed) deps.metrics.messagesDead.inc({ code: error.code });
      if (wakes.length === 0 && roomIds.length === 0) return;
      start("effects", async () => {
        const endLag = deps.metrics.publishLag.startTimer();
        const published = publishRooms(deps, roomIds).then(() => {
          if (roomIds.length > 0) endLag();
        });
        await Promise.all([...wakes.map((call) => wakeOne(deps.wake, call)), published]);
        // After the timelines: a removal comes to its connections as an entry first.
        await Promise.all([tellNotices(), publishFailed(deps.redis, failed)]);
      });
    },
    wakeRooms(idle) {
      if (idle.length === 0) return;
      start("wakes", () =>
        Promise.all(idle.map(({ tenantId, roomId }) => deps.wake("outbound-message", { tenantId, roomId }))),
      );
    },
    tellAccepted(accepted) {
      start("accepted", () => publishPending(deps.redis, accepted));
    },
    async drain() {
      await Promise.race([
        Promise.allSettled(tasks),
        new Promise((resolve) => setTimeout(resolve, DRAIN_LIMIT_MS).unref()),
      ]);
    },
  };
}

function wakeOne(wake: Wake, call: WakeCall): Promise<boolean> {
  switch (call.name) {
    case "provisioning":
      return wake(call.name, call.payload);
    case "maintenance":
      return wake(call.name, call.payload);
    default:
      return wake(call.name, call.payload);
  }
}
