import { z } from "zod";
import type { RoomSnapshot } from "../../shared/db/rooms/room-snapshot.ts";
import type { WorkerContext } from "../runtime/context.ts";
import type { Homeserver } from "../matrix/homeserver/homeserver.ts";
import type { Requester } from "../matrix/http/client.ts";
import { unlessForbidden } from "../matrix/http/failure.ts";
import { EventType } from "../matrix/names.ts";
import { getState, putState } from "../matrix/rooms/state.ts";
import type { RoomLease } from "../runtime/room-lease.ts";
import { canAdopt, createMatrixRoom } from "./create-room.ts";
import { replaceBySuccessor } from "./replace-by-successor.ts";

/** The content of `m.room.tombstone`. */
export const tombstone = z.object({ replacement_room: z.string() });

type UpgradedRoom = RoomSnapshot & { matrix_room_id: string; successor_matrix_room_id: string };

/**
 * Replaces an upgraded room by its successor, and returns the Matrix id that the room has after it. The successor must name
 * the room as its predecessor, and the observer must have power over everybody in it. Otherwise, as after an upgrade by a
 * person, who has more power in the new room than any role gives, the observer creates the successor itself.
 * @throws MatrixFailure when something cannot be read now. `/sync` shows the tombstone only once: this is tried again.
 */
export async function followUpgrade(
  context: WorkerContext,
  homeserver: Homeserver,
  room: UpgradedRoom,
  lease: RoomLease,
): Promise<string> {
  const request = await homeserver.as(room.observer_matrix_id);
  const predecessor = room.matrix_room_id;
  lease.check();
  const named = await findNamedSuccessor(request, room);
  const isFollowed = await canAdopt(request, {
    matrixRoomId: named,
    observer: room.observer_matrix_id,
    predecessor,
  });
  const successor = isFollowed ? named : await createSuccessor(context, homeserver, room, lease);
  await replaceBySuccessor(context, homeserver, room, { successor, lease });
  context.metrics.driftRepaired.inc({ what: "upgrade" });
  context.log.warn(
    { room: room.id },
    isFollowed
      ? "the room was upgraded on Matrix: followed"
      : "the room was upgraded on Matrix to one that is not ours: it goes on in a new one",
  );
  return successor;
}

/** The room may have been upgraded again since its upgrade was recorded. */
async function findNamedSuccessor(request: Requester, room: UpgradedRoom): Promise<string> {
  const target = { matrixRoomId: room.matrix_room_id, type: EventType.RoomTombstone };
  const parsed = tombstone.safeParse(await unlessForbidden(getState(request, target)));
  return parsed.data?.replacement_room ?? room.successor_matrix_room_id;
}

/** The new room's Matrix id. Where the observer still may, the old room names it for those who are there. */
async function createSuccessor(
  context: WorkerContext,
  homeserver: Homeserver,
  room: UpgradedRoom,
  lease: RoomLease,
): Promise<string> {
  const predecessor = room.matrix_room_id;
  const { matrixRoomId } = await createMatrixRoom(context, homeserver, room, { lease, predecessor });
  const request = await homeserver.as(room.observer_matrix_id);
  lease.check();
  await unlessForbidden(
    putState(request, {
      matrixRoomId: predecessor,
      type: EventType.RoomTombstone,
      content: { body: "This room has been replaced", replacement_room: matrixRoomId },
    }),
  );
  return matrixRoomId;
}
