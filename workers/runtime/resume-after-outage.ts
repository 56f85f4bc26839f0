import type { Db } from "../../shared/db/connection/open.ts";
import type { Log } from "../../shared/platform/log.ts";

/** What was held back by a homeserver's silence becomes due again over this time, not all at once. */
const SPREAD_MS = 2_000;

/** What to do when a homeserver answers again: everything that waits for it becomes due soon. */
export function createResumeAfterOutage(db: Db, log: Log): (homeserverId: string) => void {
  return (homeserverId) => {
    resumeAfterOutage(db, homeserverId).catch((error: unknown) => {
      log.warn({ err: error }, "waking what was held back failed: it becomes due by itself");
    });
  };
}

/**
 * Brings forward what waits after a failed try. What the homeserver itself asked to wait has no failed try
 * (`Rescheduling.attempts`) and keeps its time; so does what waits for no failure at all.
 */
export async function resumeAfterOutage(db: Db, homeserverId: string): Promise<void> {
  const soon = "now() + random() * :spread * interval '1 millisecond'";
  const isHeld = (due: string, attempts: string) => `${due} > now() and ${attempts} > 0`;
  const ofItsTenants = "tenant_id in (select id from mine)";
  const room = `${isHeld("next_attempt_at", "attempts")} and status <> 'failed'`;
  const members = isHeld("members_next_attempt_at", "members_attempts");
  await db.raw(
    `with mine as (select id from tenants where homeserver_id = :homeserverId),
     outboxes as (
       update room_outbox set next_attempt_at = ${soon} where ${isHeld("next_attempt_at", "attempts")} and ${ofItsTenants}
     ), gaps as (
       update room_timeline set gap_next_attempt_at = ${soon}
        where ${isHeld("gap_next_attempt_at", "gap_attempts")} and ${ofItsTenants}
     ), people as (
       update users set next_attempt_at = ${soon}
        where ${isHeld("next_attempt_at", "attempts")} and status <> 'failed' and ${ofItsTenants}
     )
     update rooms set next_attempt_at = case when ${room} then ${soon} else next_attempt_at end,
            members_next_attempt_at = case when ${members} then ${soon} else members_next_attempt_at end
      where (${room} or ${members}) and ${ofItsTenants}`,
    { homeserverId, spread: SPREAD_MS },
  );
}
