import { listJoinedMatrixIds } from "../../../shared/db/memberships/applied-members.ts";
import { listUnseenMessages, requeueMessages } from "../../../shared/db/messages/missing-messages.ts";
import { markObserverBack } from "../../../shared/db/observers/observed-rooms.ts";
import { replaceBySuccessor } from "../../../shared/db/rooms/room-provisioning.ts";
import type { RoomSnapshot } from "../../../shared/db/rooms/room-snapshot.ts";
import type { Homeserver } from "../../matrix/homeserver/homeserver.ts";
import { leaveRoom } from "../../matrix/rooms/members.ts";
import { fetchPosition } from "../../matrix/sync/fetch-changes.ts";
import type { WorkerContext } from "../../runtime/context.ts";
import type { RoomLease } from "../../runtime/room-lease.ts";
import { actAs } from "../act-as.ts";
import { createMatrixRoom } from "../create-room.ts";
import { ensureObserver } from "../ensure-account.ts";

const REQUEUED_AT_ONCE = 500;

type MatrixRoom = RoomSnapshot & { matrix_room_id: string };

/**
 * Gives a room a new Matrix room, and returns its id. The history here stays, and its numbers go on; what is queued, and what
 * no observer has read in the old one, goes to the new one, in its old order: a drain under way must start again. Its description and all its members are due. May be repeated.
 */
export async function replaceMatrixRoom(
  context: WorkerContext,
  homeserver: Homeserver,
  room: MatrixRoom,
  lease: RoomLease,
): Promise<string> {
  const { db } = context;
  const matrixUserId = room.observer_matrix_id;
  // A homeserver that was restored from a backup may have lost the account too.
  await ensureObserver(context, homeserver, { id: room.observer_id, matrixUserId });
  const predecessor = room.matrix_room_id;
  const { matrixRoomId } = await createMatrixRoom(context, homeserver, room, { lease, predecessor });
  const to = await fetchPosition(await homeserver.as(matrixUserId));
  await requeueUnseen(context, room.id, lease);
  await replaceBySuccessor(db, room.id, { fence: lease.fence, successor: matrixRoomId });
  await markObserverBack(db, room.id, { to, isOtherRoom: true });
  context.metrics.driftRepaired.inc({ what: "room" });
  context.log.error({ room: room.id }, "the room was lost on Matrix: it goes on in a new Matrix room");
  return matrixRoomId;
}

/**
 * Queues the messages again that the former Matrix room accepted and that the observer has not seen, before anything is sent
 * to the new one: so they keep their order.
 */
async function requeueUnseen(context: WorkerContext, roomId: string, lease: RoomLease): Promise<void> {
  for (let afterOrder = 0; ;) {
    lease.check();
    const page = await listUnseenMessages(context.db, roomId, { afterOrder, limit: REQUEUED_AT_ONCE });
    const requeued = await requeueMessages(context.db, roomId, lease.fence, page);
    if (requeued.length > 0) context.metrics.messagesRequeued.inc(requeued.length);
    const last = page.at(-1);
    if (!last || page.length < REQUEUED_AT_ONCE) return;
    afterOrder = last.order_number;
  }
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
