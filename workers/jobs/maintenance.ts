import { rowsOf, type Db } from "../../shared/db/connection/open.ts";
import type { JobPayload } from "../../shared/queues/index.ts";
import { DONE, type JobResult, type WorkerContext } from "../runtime/context.ts";
import { deleteParkedEntries } from "../consumers/retention.ts";
import { addObservers } from "../reconcile/add-observers.ts";

const ATTEMPTS_KEPT = "30 days";
const ROWS_AT_ONCE = 5_000;
/** What is left is cut an hour later. */
const ROUNDS_AT_MOST = 100;
/** A message that a homeserver took must show in `/sync` within this; later, its room is read again. */
const SHOWS_WITHIN = "10 minutes";

/** The schedules that need no haste. What must not wait is swept by every worker on its own clock. */
export async function handleMaintenance(
  context: WorkerContext,
  { task }: JobPayload<"maintenance">,
): Promise<JobResult> {
  if (task === "retention") {
    await cutAttempts(context);
    await deleteParkedEntries(context);
  } else {
    await addObservers(context);
    await findUnseen(context);
  }
  return DONE;
}

/** Failed tries are kept for operators, for a month. */
async function cutAttempts({ db, log, stopping }: WorkerContext): Promise<void> {
  let rows = 0;
  for (let round = 0; round < ROUNDS_AT_MOST && !stopping.aborted; round++) {
    const cut = await cutSomeAttempts(db);
    rows += cut;
    if (cut < ROWS_AT_ONCE) break;
  }
  log.info({ rows }, "old delivery attempts cut");
}

async function cutSomeAttempts(db: Db): Promise<number> {
  const rows = await rowsOf(
    db,
    `delete from delivery_attempts where id in (
       select id from delivery_attempts where at < now() - cast(? as interval) limit ?) returning 1 as cut`,
    [ATTEMPTS_KEPT, ROWS_AT_ONCE],
  );
  return rows.length;
}

/** Sent, and never seen by the observer: the room is read from its beginning, where what is known is left out. */
async function findUnseen(context: WorkerContext): Promise<void> {
  const rooms = await rowsOf<{ room_id: string; tenant_id: string }>(
    context.db,
    `update room_timeline t
        set gap_from = coalesce(t.gap_from, ''), gap_to = coalesce(t.gap_to, p.since), gap_next_attempt_at = now()
       from rooms r join sync_positions p on p.observer_id = r.observer_id
      where r.id = t.room_id and p.since is not null and p.last_success_at > now() - interval '1 minute'
        and r.matrix_room_id is not null and r.deleted_at is null and t.gap_from is null
        and exists (select 1 from messages m where m.room_id = r.id and m.open and m.status = 'sent'
                       and m.sent_at < now() - cast(? as interval))
     returning t.room_id, t.tenant_id`,
    [SHOWS_WITHIN],
  );
  for (const room of rooms) {
    context.log.error({ room: room.room_id }, "a sent message was never seen: the room is read again");
    await context.wake("room-sync", { tenantId: room.tenant_id, roomId: room.room_id });
  }
}
