import { findJoinWanted, markJoined } from "../../shared/db/memberships/applied-members.ts";
import type { RoomSnapshot } from "../../shared/db/rooms/room-snapshot.ts";
import type { WorkerContext } from "../runtime/context.ts";
import type { Homeserver } from "../matrix/homeserver/homeserver.ts";
import { isRefusedByBan, joinMember } from "../matrix/rooms/members.ts";
import type { RoomLease } from "../runtime/room-lease.ts";
import { actAs } from "./act-as.ts";
import { actAsObserver } from "./observer/act-as-observer.ts";
import { settleRemoval } from "./removals/settle-removal.ts";

/** The tenant does not want this user on Matrix in the room: there is no join. */
export class NotWanted extends Error {}

/**
 * Ensures that a member is in the Matrix room; a ban that does not count here is undone.
 * @throws NotWanted when the user is no member who may react, also because of a ban that counts here.
 */
export async function ensureJoined(
  context: WorkerContext,
  homeserver: Homeserver,
  room: RoomSnapshot & { matrix_room_id: string },
  member: { userId: string; matrixUserId: string },
  lease: RoomLease,
): Promise<void> {
  const wanted = await findJoinWanted(context.db, room.id, member.userId);
  if (wanted === null) throw new NotWanted("not a member");
  lease.check();
  if (wanted.isRemoved) await requireMember(context, homeserver, room, member, lease);
  const observer = await actAsObserver(homeserver, room.observer_matrix_id);
  const target = { matrixRoomId: room.matrix_room_id, matrixUserId: member.matrixUserId };
  const join = () => actAs(homeserver, member.matrixUserId, (self) => joinMember(observer, self, target));
  try {
    await join();
  } catch (error) {
    if (!isRefusedByBan(error)) throw error;
    await requireMember(context, homeserver, room, member, lease);
    await join();
  }
  await markJoined(context.db, room.id, member.userId);
}

/**
 * Settles what Matrix shows of a member whom somebody else may have taken out of the room there.
 * @throws NotWanted when that counts here: the user is no member any more.
 */
export async function requireMember(
  context: WorkerContext,
  homeserver: Homeserver,
  room: RoomSnapshot & { matrix_room_id: string },
  member: { userId: string; matrixUserId: string },
  lease: RoomLease,
): Promise<void> {
  const settled = await settleRemoval(context, homeserver, room, member, lease);
  if (settled === "taken over") throw new NotWanted("removed on Matrix by somebody who may");
  lease.check();
}
