import { isToBeJoined, markJoined } from "../../shared/db/memberships/applied-members.ts";
import type { RoomSnapshot } from "../../shared/db/rooms/room-snapshot.ts";
import type { WorkerContext } from "../runtime/context.ts";
import type { Homeserver } from "../matrix/homeserver/homeserver.ts";
import { joinMember } from "../matrix/rooms/members.ts";
import type { RoomLease } from "../runtime/room-lease.ts";
import { actAs } from "./act-as.ts";

/** The tenant does not want this user on Matrix in the room: there is no join. */
export class NotWanted extends Error {}

/**
 * Ensures that a member is in the Matrix room.
 * @throws NotWanted when the user is no member who may post.
 */
export async function ensureJoined(
  context: WorkerContext,
  homeserver: Homeserver,
  room: RoomSnapshot & { matrix_room_id: string },
  member: { userId: string; matrixUserId: string },
  lease: RoomLease,
): Promise<void> {
  if (!(await isToBeJoined(context.db, room.id, member.userId))) throw new NotWanted("not a member");
  lease.check();
  const observer = await homeserver.as(room.observer_matrix_id);
  const target = { matrixRoomId: room.matrix_room_id, matrixUserId: member.matrixUserId };
  await actAs(homeserver, member.matrixUserId, (self) => joinMember(observer, self, target));
  await markJoined(context.db, room.id, member.userId);
}
