import type { Db } from "../shared/db/open.ts";
import type { Log } from "../shared/log.ts";

/** Rooms held back by a homeserver's silence become due again over this time, not all at once. */
const SPREAD_MS = 2_000;

/** What to do when a homeserver answers again: everything that waits for it becomes due soon. */
export function createHeldRoomsWaker(db: Db, log: Log): (homeserverId: string) => void {
  return (homeserverId) => {
    wakeHeld(db, homeserverId).catch((error: unknown) => {
      log.warn({ err: error }, "waking what was held back failed: it becomes due by itself");
    });
  };
}

async function wakeHeld(db: Db, homeserverId: string): Promise<void> {
  const soon = "now() + random() * :spread * interval '1 millisecond'";
  await db.raw(
    `with mine as (select id from tenants where homeserver_id = :homeserverId),
     outboxes as (
       update room_outbox set next_attempt_at = ${soon} where next_attempt_at > now() and attempts > 0
          and tenant_id in (select id from mine)
     ), people as (
       update users set next_attempt_at = ${soon} where next_attempt_at > now() and attempts > 0 and status <> 'failed'
          and tenant_id in (select id from mine)
     )
     update rooms set
            next_attempt_at = case when next_attempt_at > now() and status <> 'failed' then ${soon} else next_attempt_at end,
            members_next_attempt_at = case when members_next_attempt_at > now() then ${soon} else members_next_attempt_at end
      where (next_attempt_at > now() or members_next_attempt_at > now()) and tenant_id in (select id from mine)`,
    { homeserverId, spread: SPREAD_MS },
  );
}
