import { eraseNextEntries } from "../../shared/db/users/erase-entries.ts";
import {
  findDueErasure,
  findErasedEvents,
  finishErasure,
  markEventErased,
  rescheduleErasure,
  type ErasedEvent,
} from "../../shared/db/users/erasures.ts";
import { furtherTransactionId } from "../../shared/platform/ids.ts";
import type { JobPayload } from "../../shared/queues/index.ts";
import { publishRooms } from "../../shared/timeline/publish.ts";
import type { Homeserver } from "../matrix/homeserver/homeserver.ts";
import { MatrixFailure } from "../matrix/http/failure.ts";
import { redact } from "../matrix/rooms/events.ts";
import { unlessElsewhere } from "../outbound/send/perform-act.ts";
import { DONE, type JobResult, type WorkerContext } from "../runtime/context.ts";
import { convergeOrReschedule } from "../runtime/reschedule.ts";

/** Parts of timelines, and events on Matrix, that one run works on. The next run continues. */
const MAX_PARTS = 20;
const MAX_EVENTS = 50;

/** How long a run waits for the homeserver's answer to what the user had sent. */
const SENDING_PAUSE_MS = 2_000;

/**
 * Empties what a deleted user wrote: first here, room by room, then on Matrix. It needs no lease: a part is taken in the
 * transaction that empties it, and an event is redacted under a transaction id that is always the same one.
 */
export async function handleErasure(
  context: WorkerContext,
  { tenantId, userId }: JobPayload<"erasure">,
): Promise<JobResult> {
  const { db } = context;
  const due = await findDueErasure(db, tenantId, userId);
  if (!due) return DONE;
  return convergeOrReschedule(
    context,
    due.attempts,
    async () => {
      const isEmptied = await emptyEntries(context, userId);
      const isRedacted = isEmptied && (await redactEvents(context, due.homeserver_id, userId));
      if (isRedacted && (await finishErasure(db, userId))) return DONE;
      const delayMs = isRedacted ? SENDING_PAUSE_MS : 0;
      await rescheduleErasure(db, userId, { delayMs, attempts: 0, error: null });
      return { retryInMs: delayMs };
    },
    (failure) => rescheduleErasure(db, userId, failure),
  );
}

/** Returns false when there is more to empty. */
async function emptyEntries(context: WorkerContext, userId: string): Promise<boolean> {
  for (let part = 0; part < MAX_PARTS && !context.stopping.aborted; part++) {
    const erased = await eraseNextEntries(context.db, userId);
    if (erased === "done") return true;
    if (erased.roomId !== null) await publishRooms(context, [erased.roomId]);
  }
  return false;
}

/**
 * Returns false when there is more to redact; what is being sent does not count. A room that refuses the observer keeps no other
 * room waiting. @throws MatrixFailure
 */
async function redactEvents(context: WorkerContext, homeserverId: string, userId: string): Promise<boolean> {
  const { db } = context;
  const events = await findErasedEvents(db, userId, MAX_EVENTS);
  const homeserver = events.length > 0 ? await context.homeserver(homeserverId) : null;
  const refusals = new Map<string, MatrixFailure>();
  let count = 0;
  for (const event of events) {
    if (context.stopping.aborted || homeserver === null) return false;
    if (event.event_id === null && event.is_sending) continue;
    if (refusals.has(event.room_id)) continue;
    const refusal = await redactEvent(homeserver, userId, event);
    if (refusal !== null && !event.is_room_deleted) refusals.set(event.room_id, refusal);
    else await markEventErased(db, userId, event);
    count++;
  }
  for (const refusal of refusals.values()) throw refusal;
  return count === 0;
}

/** Returns a refusal of the observer. @throws any other MatrixFailure. */
async function redactEvent(
  homeserver: Homeserver,
  userId: string,
  { event_id: eventId, matrix_room_id: matrixRoomId, observer_matrix_id: observer }: ErasedEvent,
): Promise<MatrixFailure | null> {
  if (eventId === null || matrixRoomId === null) return null;
  const request = await homeserver.as(observer);
  const transactionId = furtherTransactionId(userId, eventId);
  try {
    await unlessElsewhere(request, { matrixRoomId, eventId }, () =>
      redact(request, { matrixRoomId, eventId, transactionId }),
    );
    return null;
  } catch (error) {
    if (error instanceof MatrixFailure && error.kind === "forbidden") return error;
    throw error;
  }
}
