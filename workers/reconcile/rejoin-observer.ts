import { markObserverBack } from "../../shared/db/observers/observed-rooms.ts";
import type { RoomSnapshot } from "../../shared/db/rooms/room-snapshot.ts";
import type { WorkerContext } from "../runtime/context.ts";
import { MatrixFailure } from "../matrix/http/failure.ts";
import type { Homeserver } from "../matrix/homeserver/homeserver.ts";
import { joinMember } from "../matrix/rooms/members.ts";
import { roomPath } from "../matrix/rooms/room-path.ts";
import { fetchPosition } from "../matrix/sync/fetch-changes.ts";
import type { RoomLease } from "../runtime/room-lease.ts";
import { actAs } from "./act-as.ts";
import { findWayBack, isRefused, listInviters } from "./observer/presence.ts";
import { leaveAsMembers, replaceMatrixRoom } from "./observer/replace-matrix-room.ts";

type MatrixRoom = RoomSnapshot & { matrix_room_id: string };

/**
 * Brings an observer back into a room from which it was removed: a joined member who may invite there invites it. A Matrix
 * room that no account of ours can come into any more is replaced; so is one in which no member may invite, when an operator has
 * asked for a repair (the room is its own successor then). Returns the Matrix id that the room has after it.
 * @throws MatrixFailure `forbidden` when the observer cannot come back.
 */
export async function rejoinObserver(
  context: WorkerContext,
  homeserver: Homeserver,
  room: MatrixRoom,
  lease: RoomLease,
): Promise<string> {
  if (await rejoin(context, homeserver, room, lease)) {
    const observer = await homeserver.as(room.observer_matrix_id);
    await markObserverBack(context.db, room.id, { to: await fetchPosition(observer) });
    context.metrics.driftRepaired.inc({ what: "observer" });
    context.log.warn({ room: room.id }, "the observer was removed from the room and is back");
    return room.matrix_room_id;
  }
  const wayBack = await findWayBack(context.db, homeserver, room);
  if (wayBack === "gone") return replaceMatrixRoom(context, homeserver, room, lease);
  if (room.successor_matrix_room_id === room.matrix_room_id) {
    await leaveAsMembers(context, homeserver, room, lease);
    return replaceMatrixRoom(context, homeserver, room, lease);
  }
  throw new MatrixFailure("forbidden", {
    errcode: "the observer is out and no joined member can invite it",
    httpStatus: null,
  });
}

/** Whether the observer is in the room after it. A homeserver may still have it there, or let it in without an invitation. */
async function rejoin(
  context: WorkerContext,
  homeserver: Homeserver,
  room: MatrixRoom,
  lease: RoomLease,
): Promise<boolean> {
  const { matrix_room_id: matrixRoomId, observer_matrix_id: matrixUserId } = room;
  const observer = await homeserver.as(matrixUserId);
  const join = () => observer({ method: "POST", path: roomPath(matrixRoomId, "join"), body: {} });
  lease.check();
  if (await isAccepted(join())) return true;
  for (const inviter of await listInviters(context.db, room)) {
    lease.check();
    const invited = actAs(homeserver, inviter, (self) =>
      joinMember(self, observer, { matrixRoomId, matrixUserId }),
    );
    if (await isAccepted(invited)) return true;
  }
  return false;
}

/** False for a call that the homeserver refuses: another account may be able to invite. */
async function isAccepted(call: Promise<unknown>): Promise<boolean> {
  try {
    await call;
    return true;
  } catch (error) {
    if (!isRefused(error)) throw error;
    return false;
  }
}
