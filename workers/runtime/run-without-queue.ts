import { HANDLERS } from "../jobs/index.ts";
import type { DueJob } from "../../shared/db/due-work.ts";
import { withTimeout } from "../../shared/platform/concurrency/with-timeout.ts";
import type { WorkerContext } from "./context.ts";

/** Rooms that one process works on at a time while Redis takes no jobs, and how many of them one tenant may have. */
const SLOTS = { perProcess: 16, perTenant: 8 };
const CLOSE_LIMIT_MS = 4_000;

export type RunWithoutQueue = {
  /** Runs due work in this process, unless it runs already or enough runs. What is left is due in the next sweep too. */
  start: (work: DueJob) => void;
  stop: () => Promise<void>;
};

/**
 * Runs what is due in a room while Redis takes no jobs: the work itself needs only Postgres and the homeserver, and the
 * room's lease makes one process do it. Other work waits for Redis: nothing but its queue keeps two processes from it.
 */
export function createRunWithoutQueue(context: WorkerContext): RunWithoutQueue {
  const running = new Map<string, { tenantId: string; run: Promise<void> }>();
  const hasSlot = (tenantId: string) => {
    const own = [...running.values()].filter((one) => one.tenantId === tenantId);
    return running.size < SLOTS.perProcess && own.length < SLOTS.perTenant;
  };
  return {
    start: (work) => {
      const { tenantId } = work.payload;
      const roomId = roomOf(work);
      if (roomId === null || context.stopping.aborted || running.has(roomId) || !hasSlot(tenantId)) return;
      const run = runWork(context, work).finally(() => running.delete(roomId));
      running.set(roomId, { tenantId, run });
    },
    stop: async () => {
      const runs = [...running.values()].map(({ run }) => run);
      await withTimeout(Promise.all(runs), CLOSE_LIMIT_MS, () => []);
    },
  };
}

function roomOf({ name, payload }: DueJob): string | null {
  if (name === "outbound-message" || name === "membership") return payload.roomId;
  return name === "provisioning" && payload.subject === "room" ? payload.id : null;
}

async function runWork(context: WorkerContext, { name, payload }: DueJob): Promise<void> {
  const log = context.log.child({ queue: name });
  const { tenantId } = payload;
  const homeserver = (homeserverId: string) => context.homeserver(homeserverId, tenantId);
  try {
    // The payload is that of the handler of the same name, which the compiler cannot follow through the union.
    await HANDLERS[name].handle({ ...context, log, homeserver, isContended: () => true }, payload as never);
    context.metrics.jobs.inc({ queue: name, outcome: "completed" });
  } catch (error) {
    context.metrics.jobs.inc({ queue: name, outcome: "failed" });
    log.warn({ err: error }, "work without a queue failed: the next sweep finds it");
  }
}
