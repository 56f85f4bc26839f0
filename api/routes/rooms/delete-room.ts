import { findRoomWithPosition, presentRoom } from "../../../shared/db/rooms/rooms.ts";
import { roomResource } from "../../../shared/contract/resources.ts";
import { pathRoom } from "../../http/fields.ts";
import { serverRoute, type Route } from "../../http/route.ts";
import { deleteRoom } from "../../mutations/delete-room.ts";
import { roomMutexKey } from "../../mutations/room-mutex-key.ts";
import { path, tag, type RoomDeps } from "./room.ts";

export function deleteRoomRoute({ db, afterCommit, mutex }: RoomDeps): Route {
  return serverRoute(
    {
      method: "delete",
      path,
      tag,
      summary: "Delete a room",
      description:
        "All memberships end, and queued messages are dead. Returns the room as it was, or null if there was none.",
      answers: { 200: { schema: roomResource.nullable(), description: "The room is deleted" } },
      problems: ["not_found"],
    },
    async ({ caller: { tenantId }, params }) => {
      const address = pathRoom(params);
      const room = await findRoomWithPosition(db, tenantId, address);
      const sideEffects = await mutex(roomMutexKey(tenantId, address), () =>
        deleteRoom(db, tenantId, address),
      );
      if (sideEffects) afterCommit.perform(sideEffects);
      return { status: 200, body: room ? presentRoom(room) : null };
    },
  );
}
