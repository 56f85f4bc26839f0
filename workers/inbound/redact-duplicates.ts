import { newId } from "../../shared/platform/ids.ts";
import type { WorkerContext } from "../runtime/context.ts";
import { redact } from "../matrix/rooms/events.ts";
import type { Applied } from "./apply-plan.ts";

type Duplicate = { roomId: string; eventId: string };

/** Events of messages that have another event, as the rows showed when they were settled. */
export function duplicatesOf({ settled }: Applied): Duplicate[] {
  return settled.flatMap(({ outcome, room, event }) =>
    outcome === "duplicate" ? [{ roomId: room, eventId: event }] : [],
  );
}

/** Redacts second events of messages on Matrix. `rooms`: their rooms. A failure is logged and not repeated. */
export async function redactDuplicates(
  context: WorkerContext,
  observer: { homeserver_id: string; matrix_user_id: string },
  duplicates: readonly Duplicate[],
  rooms: readonly { id: string; matrix_room_id: string }[],
): Promise<void> {
  if (duplicates.length === 0) return;
  const homeserver = await context.homeserver(observer.homeserver_id);
  const request = await homeserver.as(observer.matrix_user_id);
  for (const { roomId, eventId } of duplicates) {
    const matrixRoomId = rooms.find((room) => room.id === roomId)?.matrix_room_id;
    if (matrixRoomId === undefined) continue;
    context.log.error({ room: roomId }, "a message has two events on Matrix: the second is redacted");
    await redact(request, { matrixRoomId, eventId, transactionId: newId() }).catch((error: unknown) => {
      context.log.warn({ err: error, room: roomId }, "redacting a duplicate failed");
    });
  }
}
