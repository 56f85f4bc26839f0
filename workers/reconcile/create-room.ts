import type { RoomSnapshot } from "../../shared/db/rooms/room-snapshot.ts";
import type { WorkerContext } from "../runtime/context.ts";
import type { Homeserver } from "../matrix/homeserver/homeserver.ts";
import type { Requester } from "../matrix/http/client.ts";
import { unlessForbidden, unlessMissing } from "../matrix/http/failure.ts";
import { EventType } from "../matrix/names.ts";
import { writersOf, writingLevel } from "../matrix/power-levels.ts";
import { freeAlias } from "../matrix/rooms/alias.ts";
import { fetchCreation } from "../matrix/rooms/creation.ts";
import { ensureMatrixRoom, type NewRoom } from "../matrix/rooms/ensure-matrix-room.ts";
import { getState } from "../matrix/rooms/state.ts";
import type { RoomLease } from "../runtime/room-lease.ts";
import { wholeAlias } from "./configuration/desired-states.ts";
import { findObstacle } from "./configuration/find-obstacle.ts";

/**
 * Creates the Matrix room of a room, in the version that the homeserver has for new rooms; `predecessor`: the Matrix room
 * that it replaces. May be repeated: a room that a former try created is found by its alias. One that is found and that the
 * observer cannot bring to what the tenant wants keeps its people and loses the alias. `isNew`: this call created it.
 */
export async function createMatrixRoom(
  context: WorkerContext,
  homeserver: Homeserver,
  room: RoomSnapshot,
  { lease, predecessor }: { lease: RoomLease; predecessor: string | null },
): Promise<{ matrixRoomId: string; isNew: boolean }> {
  const request = await homeserver.as(room.observer_matrix_id);
  const whole = wholeAlias(room, homeserver.serverName);
  const wanted: NewRoom = {
    version: await context.newRoomVersion(homeserver, request),
    alias: { localpart: room.alias_localpart, whole },
    observerMatrixId: room.observer_matrix_id,
    description: { name: room.name, topic: room.topic, avatar: room.avatar },
    eventsDefault: writingLevel(writersOf(room)),
    predecessor,
  };
  lease.check();
  const found = await ensureMatrixRoom(request, wanted);
  const isUsable =
    found.isNew ||
    (found.matrixRoomId !== predecessor &&
      (await canAdopt(request, { ...found, observer: room.observer_matrix_id, predecessor })));
  if (isUsable) return found;
  context.log.error(
    { room: room.id },
    "the room's alias names a room that is not ours: another room is created",
  );
  lease.check();
  const isFree = await freeAlias(request, whole);
  return ensureMatrixRoom(request, isFree ? wanted : { ...wanted, alias: null });
}

/**
 * Whether the observer can bring a Matrix room to what the tenant wants: it is joined there, and has power over everybody.
 * With `predecessor`, the room must name that one as what it replaces.
 */
export async function canAdopt(
  request: Requester,
  target: { matrixRoomId: string; observer: string; predecessor: string | null },
): Promise<boolean> {
  const { matrixRoomId, observer, predecessor } = target;
  // Null: the observer was never in the room, or there is no such room.
  const creation = await unlessForbidden(unlessMissing(fetchCreation(request, matrixRoomId)));
  if (creation === null || (predecessor !== null && creation.predecessor !== predecessor)) return false;
  const levels = await getState(request, { matrixRoomId, type: EventType.RoomPowerLevels });
  return findObstacle(creation, levels, observer) === null;
}
