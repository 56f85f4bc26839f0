import {
  listUnseenMessages,
  requeueMessages,
  type UnseenMessage,
} from "../../shared/db/messages/missing-messages.ts";
import type { RoomSnapshot } from "../../shared/db/rooms/room-snapshot.ts";
import type { WorkerContext } from "../runtime/context.ts";
import type { Requester } from "../matrix/http/client.ts";
import { lookUpEvent } from "../matrix/rooms/events.ts";
import { withRoomLease } from "../runtime/room-lease.ts";

const LOOKED_UP_AT_ONCE = 200;

/**
 * Queues the messages again that the homeserver accepted and does not have any more, as after a restore from an older
 * backup: in their old order, under their old transaction ids. The caller has just read the whole room; `seen` are the
 * messages that it found there. Any other message that is sent and not in the timeline is looked up by its event: when
 * the event is there, the message stays as it is.
 * Returns false when somebody else writes to the room: the caller tries again soon.
 */
export async function requeueMissing(
  context: WorkerContext,
  request: Requester,
  room: RoomSnapshot & { matrix_room_id: string },
  seen: ReadonlySet<string>,
): Promise<boolean> {
  for (let afterOrder = 0; ;) {
    const page = await listUnseenMessages(context.db, room.id, { afterOrder, limit: LOOKED_UP_AT_ONCE });
    const missing: UnseenMessage[] = [];
    for (const message of page) {
      if (seen.has(message.id)) continue;
      const target = { matrixRoomId: room.matrix_room_id, eventId: message.event_id };
      const found = await lookUpEvent(request, target);
      if (found === "missing") missing.push(message);
    }
    if (missing.length > 0 && !(await requeue(context, room, missing))) return false;
    const last = page.at(-1);
    if (!last || page.length < LOOKED_UP_AT_ONCE) return true;
    afterOrder = last.order_number;
  }
}

/** Under the room's lease: a drain that is already past these messages would settle the room without them. */
async function requeue(
  context: WorkerContext,
  room: RoomSnapshot,
  missing: readonly UnseenMessage[],
): Promise<boolean> {
  const requeued = await withRoomLease(context, { tenantId: room.tenant_id, roomId: room.id }, ({ fence }) =>
    requeueMessages(context.db, room.id, fence, missing),
  );
  if (requeued === null) return false;
  if (requeued.length > 0) {
    context.metrics.messagesRequeued.inc(requeued.length);
    context.log.error(
      { room: room.id, messages: requeued.length },
      "the homeserver does not have messages any more that it accepted: they are sent again",
    );
  }
  return true;
}
