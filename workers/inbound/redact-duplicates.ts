import { newId } from "../../shared/platform/ids.ts";
import type { WorkerContext } from "../runtime/context.ts";
import { redact } from "../matrix/rooms/events.ts";
import type { Applied } from "./apply-plan.ts";
import type { SyncPlan } from "./sync-plan.ts";

type Duplicate = { roomId: string; eventId: string };

/**
 * The duplicates of a plan, and the events of which the rows showed only when they were settled that their messages have
 * another one: that may be the event which the plan took for the duplicate. Also the events of what was deleted here.
 */
export function duplicatesOf(
  { duplicates }: Pick<SyncPlan, "duplicates">,
  { settled }: Applied,
): Duplicate[] {
  const second = settled.filter(({ outcome }) => outcome === "duplicate" || outcome === "orphan");
  const messages = new Set(second.map(({ message }) => message));
  return [
    ...duplicates.filter(({ messageId }) => !messages.has(messageId)),
    ...second.map(({ room, event }) => ({ roomId: room, eventId: event })),
  ];
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
    context.log.error({ room: roomId }, "an event is one too many on Matrix: it is redacted");
    await redact(request, { matrixRoomId, eventId, transactionId: newId() }).catch((error: unknown) => {
      context.log.warn({ err: error, room: roomId }, "redacting a duplicate failed");
    });
  }
}
