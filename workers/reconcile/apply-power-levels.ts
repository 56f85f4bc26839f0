import { z } from "zod";
import {
  findWriters,
  listMembersWithLevel,
  markLevelsApplied,
} from "../../shared/db/memberships/applied-members.ts";
import type { RoomSnapshot } from "../../shared/db/rooms/room-snapshot.ts";
import type { WorkerContext } from "../runtime/context.ts";
import type { Homeserver } from "../matrix/homeserver/homeserver.ts";
import { buildPowerLevels, isSameLevels, writingLevel } from "../matrix/power-levels.ts";
import { withinReach } from "../matrix/reachable-levels.ts";
import { EventType } from "../matrix/names.ts";
import { fetchCreation } from "../matrix/rooms/creation.ts";
import { getState, putState } from "../matrix/rooms/state.ts";
import type { RoomLease } from "../runtime/room-lease.ts";

/** Brings the room's whole power-level map on Matrix to the roles of its joined members. Returns whether it changed it. */
export async function applyPowerLevels(
  context: WorkerContext,
  homeserver: Homeserver,
  room: RoomSnapshot & { matrix_room_id: string },
  lease: RoomLease,
): Promise<boolean> {
  const [members, writers] = await Promise.all([
    listMembersWithLevel(context.db, room.id),
    findWriters(context.db, room.id),
  ]);
  const matrixRoomId = room.matrix_room_id;
  const request = await homeserver.as(room.observer_matrix_id);
  const type = EventType.RoomPowerLevels;
  lease.check();
  const [{ creators }, current] = await Promise.all([
    fetchCreation(request, matrixRoomId),
    getState(request, { matrixRoomId, type }),
  ]);
  const power = { observer: room.observer_matrix_id, creators };
  const desired = buildPowerLevels(
    power,
    members.map(({ matrix_user_id: matrixUserId, level }) => ({ matrixUserId, level })),
    writers.isLoweredLater ? readWritingLevel(current) : writingLevel(writers),
  );
  const wanted = withinReach(current, desired, power);
  const isDifferent = !isSameLevels(current, wanted);
  if (isDifferent) {
    lease.check();
    await putState(request, { matrixRoomId, type, content: wanted });
  }
  // A member above the limit of the map is not in it: see `maxRoles`.
  const named = members.filter((member) => wanted.users[member.matrix_user_id] !== undefined);
  if (named.length < members.length)
    context.log.error(
      { room: room.id, named: named.length, members: members.length },
      "the room has more roles than its power-level map may name: the lowest are left out on Matrix",
    );
  await markLevelsApplied(context.db, room.id, named);
  return isDifferent;
}

const levels = z.object({ events_default: z.int().catch(0) }).catch({ events_default: 0 });

/** The level that a member needs to write as Matrix has it. */
function readWritingLevel(current: unknown): number {
  return levels.parse(current).events_default;
}
