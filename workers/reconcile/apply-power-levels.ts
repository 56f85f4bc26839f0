import type { WorkerContext } from "../runtime/context.ts";
import { rowsOf } from "../../shared/db/connection/open.ts";
import type { Role } from "../../shared/contract/roles.ts";
import { POWER_LEVEL } from "../../shared/contract/roles.ts";
import type { Homeserver } from "../matrix/homeserver/homeserver.ts";
import { buildPowerLevels, isSameLevels } from "../matrix/power-levels.ts";
import { EventType } from "../matrix/names.ts";
import { getState, putState } from "../matrix/rooms/state.ts";
import type { RoomLease } from "../runtime/room-lease.ts";
import type { RoomSnapshot } from "../../shared/db/rooms/work-room.ts";

type JoinedMember = { user_id: string; matrix_user_id: string; role: Role };

/** The room's whole power-level map on Matrix is what the roles of its joined members say. Answers whether it was not. */
export async function applyLevels(
  context: WorkerContext,
  homeserver: Homeserver,
  room: RoomSnapshot & { matrix_room_id: string },
  lease: RoomLease,
): Promise<boolean> {
  const members = await rowsOf<JoinedMember>(
    context.db,
    `select s.user_id, u.matrix_user_id, s.role from memberships s join users u on u.id = s.user_id
      where s.room_id = ? and s.desired = 'in' and s.applied = 'in' and s.role not in ('member', 'guest')`,
    [room.id],
  );
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
  await rememberLevels(context, room.id, members);
  return isDifferent;
}

async function rememberLevels(
  context: WorkerContext,
  roomId: string,
  members: readonly JoinedMember[],
): Promise<void> {
  await context.db.raw(
    `update memberships s set applied_level = coalesce(l.level, 0)
       from memberships m left join unnest(cast(:userIds as uuid[]), cast(:levels as int[])) as l(user_id, level) using (user_id)
      where m.room_id = :roomId and s.room_id = m.room_id and s.user_id = m.user_id and s.applied_level <> coalesce(l.level, 0)`,
    {
      roomId,
      userIds: members.map((member) => member.user_id),
      levels: members.map((member) => POWER_LEVEL[member.role]),
    },
  );
}
