import type { Db } from "../../shared/db/connection/open.ts";
import { makeDueAfterOutage } from "../../shared/db/due-work.ts";
import type { Log } from "../../shared/platform/log.ts";

/** The work becomes due over this time, so that the homeserver does not get all of it at once. */
const SPREAD_MS = 2_000;

/** What to do when a homeserver answers again: its work that waits after a failed attempt becomes due soon. */
export function createResumeAfterOutage(db: Db, log: Log): (homeserverId: string) => void {
  return (homeserverId) => {
    resumeAfterOutage(db, homeserverId).catch((error: unknown) => {
      log.warn({ err: error }, "resuming after an outage failed: the work becomes due at its own time");
    });
  };
}

export async function resumeAfterOutage(db: Db, homeserverId: string): Promise<void> {
  await makeDueAfterOutage(db, homeserverId, SPREAD_MS);
}
