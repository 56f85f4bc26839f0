import { listMembersWithLevel, markLevelsApplied } from "../../shared/db/memberships/applied-members.ts";
import type { RoomSnapshot } from "../../shared/db/rooms/room-snapshot.ts";
import type { WorkerContext } from "../runtime/context.ts";
import type { Homeserver } from "../matrix/homeserver/homeserver.ts";
import { buildPowerLevels, isSameLevels } from "../matrix/power-levels.ts";
import { EventType } from "../matrix/names.ts";
import { getState, putState } from "../matrix/rooms/state.ts";
import type { RoomLease } from "../runtime/room-lease.ts";

/** Brings the room's whole power-level map on Matrix to the roles of its joined members. Returns whether it changed it. */
export async function applyPowerLevels(
  context: WorkerContext,
  homeserver: Homeserver,
  room: RoomSnapshot & { matrix_room_id: string },
  lease: RoomLease,
): Promise<boolean> {
  const members = await listMembersWithLevel(context.db, room.id);
  const wanted = buildPowerLevels(
    room.observer_matrix_id,
    members.map((member) => ({ matrixUserId: member.matrix_user_id, role: member.role })),
  );
  const request = await homeserver.as(room.observer_matrix_id);
  const type = EventType.RoomPowerLevels;
  lease.check();
  const current = await getState(request, { matrixRoomId: room.matrix_room_id, type });
  const isDifferent = !isSameLevels(current, wanted);
  if (isDifferent) {
    lease.check();
    await putState(request, { matrixRoomId: room.matrix_room_id, type, content: wanted });
  }
  await markLevelsApplied(context.db, room.id, members);
  return isDifferent;
}
