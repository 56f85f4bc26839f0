import { forgetEvents } from "../../shared/db/events/received-events.ts";
import { deleteOldAttempts } from "../../shared/db/messages/delivery-attempts.ts";
import { openGapsOfUnseenMessages } from "../../shared/db/observers/room-gaps.ts";
import type { JobPayload } from "../../shared/queues/index.ts";
import { DONE, type JobResult, type WorkerContext } from "../runtime/context.ts";
import { deleteParkedEntries } from "../consumers/retention.ts";
import { adoptWaiting, dropWaiting } from "../inbound/adopt-waiting.ts";
import { cutTimelines } from "../retention/cut-timelines.ts";
import { addObservers } from "../reconcile/add-observers.ts";

/** Operators see the failed attempts of a month. */
const ATTEMPTS_KEPT = "30 days";
const DELETED_AT_ONCE = 5_000;
/** The next run, an hour later, deletes the rest. */
const MAX_ROUNDS = 100;
/** A message that a homeserver accepted is in `/sync` within this. After it, the message's room is read again. */
const SEEN_WITHIN = "10 minutes";

/** Work that is not urgent, on a schedule. What is urgent is found by the sweeper. */
export async function handleMaintenance(
  context: WorkerContext,
  { task }: JobPayload<"maintenance">,
): Promise<JobResult> {
  if (task === "retention") {
    await deleteAttempts(context);
    await deleteParkedEntries(context);
    await dropWaiting(context);
    await cutTimelines(context);
    await forgetReceived(context);
  } else {
    await addObservers(context);
    await rereadUnseen(context);
    await adoptWaiting(context);
  }
  return DONE;
}

async function deleteAttempts({ db, log, stopping }: WorkerContext): Promise<void> {
  let rows = 0;
  for (let round = 0; round < MAX_ROUNDS && !stopping.aborted; round++) {
    const deleted = await deleteOldAttempts(db, ATTEMPTS_KEPT, DELETED_AT_ONCE);
    rows += deleted;
    if (deleted < DELETED_AT_ONCE) break;
  }
  log.info({ rows }, "old delivery attempts deleted");
}

async function forgetReceived({ db, log, stopping }: WorkerContext): Promise<void> {
  let rows = 0;
  for (let round = 0; round < MAX_ROUNDS && !stopping.aborted; round++) {
    const forgotten = await forgetEvents(db, DELETED_AT_ONCE);
    rows += forgotten;
    if (forgotten < DELETED_AT_ONCE) break;
  }
  log.info({ rows }, "domain events of more than seven days ago forgotten");
}

/** Reads rooms from their beginning that have a sent message which the observer has not seen. Known events are left out. */
async function rereadUnseen(context: WorkerContext): Promise<void> {
  for (const room of await openGapsOfUnseenMessages(context.db, SEEN_WITHIN)) {
    context.log.error({ room: room.room_id }, "a sent message was not seen: its room is read again");
    await context.wake("room-sync", { tenantId: room.tenant_id, roomId: room.room_id });
  }
}
