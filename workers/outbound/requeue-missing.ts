import { rowsOf, type Db } from "../../shared/db/connection/open.ts";
import type { TimelinePosition } from "../../shared/db/timeline/pages.ts";
import type { WorkerContext } from "../runtime/context.ts";
import type { Requester } from "../matrix/http/client.ts";
import { lookUpEvent } from "../matrix/rooms/events.ts";
import { withRoomLease } from "../runtime/room-lease.ts";
import { reportDeadMessage } from "./report-dead-message.ts";
import type { RoomSnapshot } from "../../shared/db/rooms/work-room.ts";

const LOOKED_UP_AT_ONCE = 200;

type Unseen = { id: string; event_id: string; order_number: number };

/**
 * Queues again what the homeserver took and has no more, as after a restore from an older backup: in its old order, under
 * its old transaction ids. For a room that was just read whole: nothing that reading showed is `unseen`, and what stands
 * there all the same (its event can be had by its id) is left to be shown; what was redacted before we saw it will never
 * be, and ends. What is in our timeline stays as it is.
 * Answers false when somebody else writes to the room: to be asked again soon.
 */
export async function requeueMissing(
  context: WorkerContext,
  request: Requester,
  room: RoomSnapshot & { matrix_room_id: string },
  seen: ReadonlySet<string>,
): Promise<boolean> {
  for (let afterOrder = 0; ;) {
    const page = await findUnseen(context.db, room.id, afterOrder);
    const forgotten: Unseen[] = [];
    for (const message of page) {
      if (seen.has(message.id)) continue;
      const target = { matrixRoomId: room.matrix_room_id, eventId: message.event_id };
      const found = await lookUpEvent(request, target);
      if (found === "missing") forgotten.push(message);
      if (found === "redacted") await giveUp(context, room, message);
    }
    if (forgotten.length > 0 && !(await requeue(context, room, forgotten))) return false;
    const last = page.at(-1);
    if (!last || page.length < LOOKED_UP_AT_ONCE) return true;
    afterOrder = last.order_number;
  }
}

/** Somebody took the message back on Matrix before it was told: an event without its marker is nobody's. */
async function giveUp(context: WorkerContext, room: RoomSnapshot, { id, event_id }: Unseen): Promise<void> {
  const code = "redacted";
  const reason = "The message was taken back on the chat server before anybody was shown it.";
  const [position] = await rowsOf<TimelinePosition>(
    context.db,
    `with ended as (
       update messages set status = 'dead', open = false, error_code = ?, error_message = ?
        where id = ? and event_id = ? and open and status = 'sent' returning room_id
     )
     select t.epoch, t.last_number as "lastNumber" from ended join room_timeline t using (room_id)`,
    [code, reason, id, event_id],
  );
  if (!position) return;
  await reportDeadMessage(context, room, { message: id, code, reason, position });
}

/** Sent, and not come home. */
function findUnseen(db: Db, roomId: string, afterOrder: number): Promise<Unseen[]> {
  return rowsOf<Unseen>(
    db,
    `select id, event_id, order_number from messages
      where room_id = ? and open and status = 'sent' and event_id is not null and order_number > ?
      order by order_number limit ?`,
    [roomId, afterOrder, LOOKED_UP_AT_ONCE],
  );
}

/** Under the room's lease: whoever sends from a place behind these messages would settle the room without them. */
async function requeue(
  context: WorkerContext,
  room: RoomSnapshot,
  forgotten: readonly Unseen[],
): Promise<boolean> {
  const again = await withRoomLease(context, { tenantId: room.tenant_id, roomId: room.id }, ({ fence }) =>
    rowsOf<{ id: string }>(
      context.db,
      `with mine as (
           select room_id from room_outbox where room_id = :roomId and fence = :fence and lease_until > now() for update
         ), again as (
           update messages m set status = 'queued', event_id = null, sent_at = null
             from unnest(cast(:ids as uuid[]), cast(:eventIds as text[])) as f(id, event_id), mine
            where m.id = f.id and m.open and m.status = 'sent' and m.event_id = f.event_id
           returning m.id
         ), due as (
           update room_outbox o set next_attempt_at = coalesce(o.next_attempt_at, now())
             from mine where o.room_id = mine.room_id and exists (select 1 from again)
         )
         select id from again`,
      {
        roomId: room.id,
        fence,
        ids: forgotten.map(({ id }) => id),
        eventIds: forgotten.map(({ event_id }) => event_id),
      },
    ),
  );
  if (again === null) return false;
  if (again.length > 0) {
    context.metrics.messagesRequeued.inc(again.length);
    context.log.error(
      { room: room.id, messages: again.length },
      "the homeserver has forgotten messages that it took: they are sent again",
    );
  }
  return true;
}
