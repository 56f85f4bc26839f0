import { z } from "zod";
import { listPinnedEvents } from "../../../shared/db/pins/pinned.ts";
import { markRoomDescribed } from "../../../shared/db/rooms/matrix/room-provisioning.ts";
import type { RoomSnapshot } from "../../../shared/db/rooms/room-snapshot.ts";
import type { WorkerContext } from "../../runtime/context.ts";
import type { Homeserver } from "../../matrix/homeserver/homeserver.ts";
import type { Requester } from "../../matrix/http/client.ts";
import { EventType } from "../../matrix/names.ts";
import { pointAlias } from "../../matrix/rooms/alias.ts";
import { getState, putState } from "../../matrix/rooms/state.ts";
import type { RoomLease } from "../../runtime/room-lease.ts";
import { listDesiredStates, readField, type DesiredState } from "./desired-states.ts";

/** Sets the state of an existing room to what the tenant wants: name, topic, avatar, and how people may come in and read. */
export async function describeRoom(
  context: WorkerContext,
  homeserver: Homeserver,
  room: RoomSnapshot & { matrix_room_id: string },
  lease: RoomLease,
): Promise<void> {
  const request = await homeserver.as(room.observer_matrix_id);
  for (const state of listDesiredStates(room, homeserver.serverName)) {
    lease.check();
    await applyState(context, request, room, state);
  }
  await applyPins(context, request, room, lease);
  await markRoomDescribed(context.db, room.id, room.desired_version);
}

const pinned = z.object({ pinned: z.array(z.string()) }).catch({ pinned: [] });

/** The list of pinned messages is as here, where somebody changed it who may not. */
async function applyPins(
  { db }: WorkerContext,
  request: Requester,
  room: { id: string; matrix_room_id: string },
  lease: RoomLease,
): Promise<void> {
  const place = { matrixRoomId: room.matrix_room_id, type: EventType.RoomPinnedEvents };
  const events = await listPinnedEvents(db, room.id);
  const wanted = events.flatMap(({ event_id: eventId }) => eventId ?? []);
  const found = pinned.parse(await getState(request, place)).pinned;
  if (JSON.stringify(found) === JSON.stringify(wanted)) return;
  lease.check();
  await putState(request, { ...place, content: { pinned: wanted } });
}

async function applyState(
  context: WorkerContext,
  request: Requester,
  { id, matrix_room_id: matrixRoomId }: { id: string; matrix_room_id: string },
  state: DesiredState,
): Promise<void> {
  const { type, field, wanted } = state;
  const found = readField(state, await getState(request, { matrixRoomId, type }));
  if (found === wanted) return;
  // The homeserver refuses an alias that names another room.
  if (state.what === "alias" && wanted !== null && !(await pointAlias(request, wanted, matrixRoomId))) {
    context.log.warn({ room: id }, "the room's alias names another room, and the homeserver keeps it so");
    return;
  }
  await putState(request, { matrixRoomId, type, content: wanted === null ? {} : { [field]: wanted } });
}
