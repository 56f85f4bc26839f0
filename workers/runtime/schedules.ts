import { errorText } from "../../shared/contract/errors.ts";
import { every, type Repeating } from "../../shared/platform/concurrency/every.ts";
import type { Log } from "../../shared/platform/log.ts";
import { jobOptions, type Queues } from "../../shared/queues/open.ts";

const CHECK_EVERY_MS = 60_000;
const SCHEDULES = [
  { task: "reconcile", everyMs: 60_000 },
  { task: "retention", everyMs: 3_600_000 },
] as const;

/** Sets the schedules of the maintenance queue now and every minute: Redis may have lost them. */
export function keepSchedules(queues: Queues, log: Log): Repeating {
  const onError = (error: unknown) => {
    log.debug({ why: errorText(error) }, "setting the schedules failed: tried again in a minute");
  };
  setSchedules(queues).catch(onError);
  return every(CHECK_EVERY_MS, () => setSchedules(queues), onError);
}

async function setSchedules(queues: Queues): Promise<void> {
  for (const { task, everyMs } of SCHEDULES) {
    // A scheduled job cannot have a deduplication id; a scheduler has one job at a time anyway.
    const { deduplication: _, ...opts } = jobOptions("maintenance", { task }, { reschedule: false });
    await queues.maintenance.upsertJobScheduler(
      task,
      { every: everyMs },
      { name: "maintenance", data: { task }, opts },
    );
  }
}
