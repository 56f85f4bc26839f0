import type { RoomSnapshot } from "../../shared/db/rooms/room-snapshot.ts";
import { redactDuplicates } from "../inbound/redact-duplicates.ts";
import type { WorkerContext } from "../runtime/context.ts";

/** Redacts events of a room whose messages have another event already, as its observer. */
export async function redactDuplicateEvents(
  context: WorkerContext,
  room: RoomSnapshot,
  eventIds: readonly string[],
): Promise<void> {
  const { id: roomId, matrix_room_id, homeserver_id, observer_matrix_id } = room;
  if (eventIds.length === 0 || matrix_room_id === null) return;
  const observer = { homeserver_id, matrix_user_id: observer_matrix_id };
  const duplicates = eventIds.map((eventId) => ({ roomId, eventId }));
  await redactDuplicates(context, observer, duplicates, [{ id: roomId, matrix_room_id }]);
}
