import { execute, rowsOf } from "../../shared/db/connection/open.ts";
import type { WorkerContext } from "../runtime/context.ts";
import { MatrixFailure } from "../matrix/http/failure.ts";
import type { Homeserver } from "../matrix/homeserver/homeserver.ts";
import { joinMember } from "../matrix/rooms/members.ts";
import { fetchPosition } from "../matrix/sync/fetch-changes.ts";
import type { RoomLease } from "../runtime/room-lease.ts";
import { noteObserverBack } from "../../shared/db/observers/observed-rooms.ts";
import type { RoomSnapshot } from "../../shared/db/rooms/work-room.ts";
import { actAs } from "./act-as.ts";

/**
 * Brings an observer that was put out back into its room: somebody of ours who may invite there asks it in.
 * @throws MatrixFailure `forbidden` when nobody of ours in the room may invite.
 */
export async function rejoinObserver(
  context: WorkerContext,
  homeserver: Homeserver,
  room: RoomSnapshot & { matrix_room_id: string },
  lease: RoomLease,
): Promise<void> {
  const inviters = await rowsOf<{ matrix_user_id: string }>(
    context.db,
    `select u.matrix_user_id from memberships s join users u on u.id = s.user_id
      where s.room_id = ? and s.applied = 'in' and s.role in ('owner', 'admin', 'moderator') and u.deleted_at is null
      order by s.applied_level desc limit 1`,
    [room.id],
  );
  const inviter = inviters[0]?.matrix_user_id;
  if (inviter === undefined) {
    throw new MatrixFailure("forbidden", {
      errcode: "the observer is out and nobody may invite it",
      httpStatus: null,
    });
  }
  lease.check();
  const observer = await homeserver.as(room.observer_matrix_id);
  const target = { matrixRoomId: room.matrix_room_id, matrixUserId: room.observer_matrix_id };
  await actAs(homeserver, inviter, (asking) => joinMember(asking, observer, target));
  const { sql, bindings } = noteObserverBack(room.id, await fetchPosition(observer));
  await execute(context.db, sql, bindings);
  context.metrics.driftRepaired.inc({ what: "observer" });
  context.log.warn({ room: room.id }, "the observer was put out of the room and is back");
}
