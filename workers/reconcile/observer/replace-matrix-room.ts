import { listJoinedMatrixIds } from "../../../shared/db/memberships/applied-members.ts";
import type { RoomSnapshot } from "../../../shared/db/rooms/room-snapshot.ts";
import type { Homeserver } from "../../matrix/homeserver/homeserver.ts";
import { leaveRoom } from "../../matrix/rooms/members.ts";
import type { WorkerContext } from "../../runtime/context.ts";
import type { RoomLease } from "../../runtime/room-lease.ts";
import { actAs } from "../act-as.ts";
import { createMatrixRoom } from "../create-room.ts";
import { ensureObserver } from "../ensure-account.ts";
import { replaceBySuccessor } from "../replace-by-successor.ts";

type MatrixRoom = RoomSnapshot & { matrix_room_id: string };

/** Gives a room a new Matrix room, and returns its id: see `replaceBySuccessor`. May be repeated. */
export async function replaceMatrixRoom(
  context: WorkerContext,
  homeserver: Homeserver,
  room: MatrixRoom,
  lease: RoomLease,
): Promise<string> {
  const matrixUserId = room.observer_matrix_id;
  // A homeserver that was restored from a backup may have lost the account too.
  await ensureObserver(context, homeserver, { id: room.observer_id, matrixUserId });
  const predecessor = room.matrix_room_id;
  const { matrixRoomId } = await createMatrixRoom(context, homeserver, room, { lease, predecessor });
  await replaceBySuccessor(context, homeserver, room, { successor: matrixRoomId, lease });
  context.metrics.driftRepaired.inc({ what: "room" });
  context.log.error({ room: room.id }, "the room was lost on Matrix: it goes on in a new Matrix room");
  return matrixRoomId;
}

/** Our members leave a Matrix room that the observer is not in, and which it cannot remove them from. */
export async function leaveAsMembers(
  context: WorkerContext,
  homeserver: Homeserver,
  { id: roomId, matrix_room_id: matrixRoomId }: { id: string; matrix_room_id: string },
  lease: RoomLease,
): Promise<void> {
  for (const matrixUserId of await listJoinedMatrixIds(context.db, roomId)) {
    lease.check();
    await actAs(homeserver, matrixUserId, (self) => leaveRoom(self, matrixRoomId));
  }
}
