import {
  findUnknownUsers,
  findUnknownUsersSeenAt,
  markUnknownUsersRemoved,
} from "../../shared/db/memberships/unknown-users.ts";
import type { RoomSnapshot } from "../../shared/db/rooms/room-snapshot.ts";
import type { WorkerContext } from "../runtime/context.ts";
import type { Homeserver } from "../matrix/homeserver/homeserver.ts";
import { listMemberships, presentOf, removeMember } from "../matrix/rooms/members.ts";
import type { RoomLease } from "../runtime/room-lease.ts";

/** Users that one run removes. Later runs remove the rest, so that the room's messages are sent between them. */
const MAX_REMOVALS = 20;

/**
 * Removes the users from a room on Matrix who are joined or invited there and may not be, when one was seen.
 * Returns false when more of them are left.
 */
export async function removeUnknownUsers(
  context: WorkerContext,
  homeserver: Homeserver,
  room: RoomSnapshot & { matrix_room_id: string },
  lease: RoomLease,
): Promise<boolean> {
  const seenAt = await findUnknownUsersSeenAt(context.db, room.id);
  if (seenAt === null) return true;
  const matrixRoomId = room.matrix_room_id;
  const observer = await homeserver.as(room.observer_matrix_id);
  lease.check();
  const present = presentOf(await listMemberships(observer, matrixRoomId));
  const unknownUsers = await findUnknownUsers(context.db, room, present);
  for (const matrixUserId of unknownUsers.slice(0, MAX_REMOVALS)) {
    lease.check();
    await removeMember(observer, { matrixRoomId, matrixUserId });
    context.metrics.driftRepaired.inc({ what: "members" });
  }
  if (unknownUsers.length > 0) {
    const count = Math.min(unknownUsers.length, MAX_REMOVALS);
    context.log.warn({ room: room.id, count }, "unknown users were removed from the room");
  }
  if (unknownUsers.length > MAX_REMOVALS) return false;
  await markUnknownUsersRemoved(context.db, room.id, seenAt);
  return true;
}
