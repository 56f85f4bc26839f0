import type { DiagnosedMember } from "../../../shared/db/rooms/room-diagnosis.ts";
import type { RoomSnapshot } from "../../../shared/db/rooms/room-snapshot.ts";
import type { Requester } from "../../matrix/http/client.ts";
import { EventType } from "../../matrix/names.ts";
import { buildPowerLevels, isSameLevels, writingLevel, writersOf } from "../../matrix/power-levels.ts";
import { withinReach } from "../../matrix/reachable-levels.ts";
import { fetchCreation } from "../../matrix/rooms/creation.ts";
import { getState } from "../../matrix/rooms/state.ts";
import { listDesiredStates, readField } from "./desired-states.ts";
import type { Difference } from "./difference.ts";
import { findObstacle } from "./find-obstacle.ts";
import { tombstone } from "../follow-upgrade.ts";

type ExistingRoom = RoomSnapshot & { matrix_room_id: string };

/** How a room's state on Matrix differs from what the tenant wants, its power levels excepted. */
export async function compareState(
  request: Requester,
  room: ExistingRoom,
  serverName: string,
): Promise<Difference[]> {
  const state = (type: string) => getState(request, { matrixRoomId: room.matrix_room_id, type });
  const differences: Difference[] = [];
  const compare = (what: Difference["what"], wanted: unknown, found: unknown) => {
    if (wanted !== found) differences.push({ what, wanted, found });
  };
  const successor = tombstone.safeParse(await state(EventType.RoomTombstone)).data?.replacement_room;
  compare("upgraded", undefined, successor);
  compare("encrypted", false, (await state(EventType.RoomEncryption)) !== null);
  for (const desired of listDesiredStates(room, serverName)) {
    compare(desired.what, desired.wanted, readField(desired, await state(desired.type)));
  }
  return differences;
}

/** How a room's power levels differ from the roles of its members; `members` are those who are wanted and joined. */
export async function comparePower(
  request: Requester,
  room: ExistingRoom,
  members: readonly DiagnosedMember[],
): Promise<Difference[]> {
  const { matrix_room_id: matrixRoomId, observer_matrix_id: observer } = room;
  const { creators } = await fetchCreation(request, matrixRoomId);
  const levels = await getState(request, { matrixRoomId, type: EventType.RoomPowerLevels });
  const levelled = members.map(({ matrix_user_id: matrixUserId, level }) => ({ matrixUserId, level }));
  const power = { observer, creators };
  const wanted = withinReach(levels, buildPowerLevels(power, levelled, writingLevel(writersOf(room))), power);
  const differences: Difference[] = [];
  if (!isSameLevels(levels, wanted)) differences.push({ what: "power levels", wanted, found: levels });
  const obstacle = findObstacle({ creators }, levels, observer);
  if (obstacle !== null && obstacle.others.length > 0)
    differences.push({ what: "power cannot be taken from", wanted: [], found: obstacle.others });
  if (obstacle?.isObserverWeak === true)
    differences.push({ what: "observer lacks power", wanted: observer, found: null });
  const left = leftOut(levelled, Object.keys(wanted.users), creators);
  if (left > 0) differences.push({ what: "too many roles for Matrix", wanted: 0, found: left });
  return differences;
}

/** How many members the map should name and does not: see `maxRoles`. */
function leftOut(
  members: Parameters<typeof buildPowerLevels>[1],
  named: readonly string[],
  creators: readonly string[],
): number {
  const inMap = new Set([...named, ...creators]);
  return members.filter(({ matrixUserId, level }) => level !== 0 && !inMap.has(matrixUserId)).length;
}
