import { z } from "zod";
import { clearSuccessor, replaceBySuccessor } from "../../shared/db/rooms/room-provisioning.ts";
import type { RoomSnapshot } from "../../shared/db/rooms/room-snapshot.ts";
import type { WorkerContext } from "../runtime/context.ts";
import type { Homeserver } from "../matrix/homeserver/homeserver.ts";
import { MatrixFailure } from "../matrix/http/failure.ts";
import { EventType } from "../matrix/names.ts";
import { getState } from "../matrix/rooms/state.ts";
import type { RoomLease } from "../runtime/room-lease.ts";

const creation = z.object({ predecessor: z.object({ room_id: z.string() }) });

/**
 * Replaces an upgraded room by its successor. The successor must name the room as its predecessor, and the observer must
 * be in it; otherwise the tombstone is ignored. Returns the Matrix id that the room has after it.
 * @throws MatrixFailure when the successor cannot be read now. `/sync` shows the tombstone only once: this is tried again.
 */
export async function followUpgrade(
  context: WorkerContext,
  homeserver: Homeserver,
  room: RoomSnapshot & { matrix_room_id: string; successor_matrix_room_id: string },
  lease: RoomLease,
): Promise<string> {
  const request = await homeserver.as(room.observer_matrix_id);
  lease.check();
  const state = await getState(request, {
    matrixRoomId: room.successor_matrix_room_id,
    type: EventType.RoomCreate,
  }).catch(nullIfForbidden);
  const parsed = creation.safeParse(state);
  const isSuccessor = parsed.success && parsed.data.predecessor.room_id === room.matrix_room_id;
  if (!isSuccessor) {
    await clearSuccessor(context.db, room.id);
    context.log.error({ room: room.id }, "the tombstone names a room that is not the successor: ignored");
    return room.matrix_room_id;
  }
  await replaceBySuccessor(context.db, room.id, {
    fence: lease.fence,
    successor: room.successor_matrix_room_id,
  });
  context.metrics.driftRepaired.inc({ what: "upgrade" });
  context.log.warn({ room: room.id }, "the room was upgraded on Matrix: followed");
  return room.successor_matrix_room_id;
}

function nullIfForbidden(error: unknown): null {
  if (error instanceof MatrixFailure && error.kind === "forbidden") return null;
  throw error;
}
