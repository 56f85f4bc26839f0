import { POWER_LEVEL, role } from "../../shared/contract/roles.ts";
import { findJoinedMember } from "../../shared/db/memberships/applied-members.ts";
import { markObserverBack } from "../../shared/db/observers/observed-rooms.ts";
import type { RoomSnapshot } from "../../shared/db/rooms/room-snapshot.ts";
import type { WorkerContext } from "../runtime/context.ts";
import { MatrixFailure } from "../matrix/http/failure.ts";
import type { Homeserver } from "../matrix/homeserver/homeserver.ts";
import { INVITE_LEVEL } from "../matrix/power-levels.ts";
import { joinMember } from "../matrix/rooms/members.ts";
import { fetchPosition } from "../matrix/sync/fetch-changes.ts";
import type { RoomLease } from "../runtime/room-lease.ts";
import { actAs } from "./act-as.ts";

/** Roles whose members may invite on Matrix. */
const INVITING_ROLES = role.options.filter((name) => POWER_LEVEL[name] >= INVITE_LEVEL);

/**
 * Brings an observer back into a room from which it was removed: a joined member who may invite there invites it.
 * @throws MatrixFailure `forbidden` when there is no such member.
 */
export async function rejoinObserver(
  context: WorkerContext,
  homeserver: Homeserver,
  room: RoomSnapshot & { matrix_room_id: string },
  lease: RoomLease,
): Promise<void> {
  const inviter = await findJoinedMember(context.db, room.id, INVITING_ROLES);
  if (inviter === undefined) {
    throw new MatrixFailure("forbidden", {
      errcode: "the observer is out and no joined member may invite it",
      httpStatus: null,
    });
  }
  lease.check();
  const observer = await homeserver.as(room.observer_matrix_id);
  const target = { matrixRoomId: room.matrix_room_id, matrixUserId: room.observer_matrix_id };
  await actAs(homeserver, inviter, (self) => joinMember(self, observer, target));
  await markObserverBack(context.db, room.id, await fetchPosition(observer));
  context.metrics.driftRepaired.inc({ what: "observer" });
  context.log.warn({ room: room.id }, "the observer was removed from the room and is back");
}
