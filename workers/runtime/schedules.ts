import { errorText } from "../../shared/contract/errors.ts";
import type { Log } from "../../shared/platform/log.ts";
import { jobOptions, type Queues } from "../../shared/queues/open.ts";

const CHECK_EVERY_MS = 60_000;
const SCHEDULES = [
  { task: "reconcile", everyMs: 60_000 },
  { task: "retention", everyMs: 3_600_000 },
] as const;

/** Keeps the schedules of the maintenance queue: a Redis that lost them gets them again within a minute. */
export function keepSchedules(queues: Queues, log: Log): NodeJS.Timeout {
  const upsert = async () => {
    for (const { task, everyMs } of SCHEDULES) {
      // A scheduled job and a deduplicated one do not go together; a scheduler has one job at a time anyway.
      const { deduplication: _, ...opts } = jobOptions("maintenance", { task }, { reschedule: false });
      await queues.maintenance.upsertJobScheduler(
        task,
        { every: everyMs },
        { name: "maintenance", data: { task }, opts },
      );
    }
  };
  const attempt = () => {
    upsert().catch((error: unknown) => {
      log.debug({ why: errorText(error) }, "keeping the schedules failed: tried again in a minute");
    });
  };
  attempt();
  return setInterval(attempt, CHECK_EVERY_MS);
}
