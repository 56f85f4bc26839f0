import { markRoomAdopted, markRoomCreated } from "../../shared/db/rooms/matrix/room-provisioning.ts";
import type { RoomSnapshot } from "../../shared/db/rooms/room-snapshot.ts";
import type { WorkerContext } from "../runtime/context.ts";
import type { Homeserver } from "../matrix/homeserver/homeserver.ts";
import type { RoomLease } from "../runtime/room-lease.ts";
import { createMatrixRoom } from "./create-room.ts";
import { ensureObserver } from "./ensure-account.ts";
import { followUpgrade } from "./follow-upgrade.ts";
import { rejoinObserver } from "./rejoin-observer.ts";

/** Ensures that the room exists on Matrix, under its lease, with its observer in it. Returns its Matrix id. */
export async function ensureRoom(
  context: WorkerContext,
  homeserver: Homeserver,
  room: RoomSnapshot,
  lease: RoomLease,
): Promise<string> {
  if (room.matrix_room_id !== null)
    return repairRoom(context, homeserver, { ...room, matrix_room_id: room.matrix_room_id }, lease);
  if (!room.observer_is_registered) {
    await ensureObserver(context, homeserver, {
      id: room.observer_id,
      matrixUserId: room.observer_matrix_id,
    });
  }
  const { matrixRoomId, isNew } = await createMatrixRoom(context, homeserver, room, {
    lease,
    predecessor: null,
  });
  const { fence } = lease;
  if (isNew)
    await markRoomCreated(context.db, room.id, { fence, matrixRoomId, version: room.desired_version });
  else await markRoomAdopted(context.db, room.id, { fence, matrixRoomId });
  return matrixRoomId;
}

/** Brings the observer back into an existing room, or replaces that, and follows an upgrade of the room. */
async function repairRoom(
  context: WorkerContext,
  homeserver: Homeserver,
  room: RoomSnapshot & { matrix_room_id: string },
  lease: RoomLease,
): Promise<string> {
  if (room.observer_is_out) {
    const matrixRoomId = await rejoinObserver(context, homeserver, room, lease);
    if (matrixRoomId !== room.matrix_room_id) return matrixRoomId;
  }
  if (room.successor_matrix_room_id === null) return room.matrix_room_id;
  return followUpgrade(
    context,
    homeserver,
    { ...room, successor_matrix_room_id: room.successor_matrix_room_id },
    lease,
  );
}
