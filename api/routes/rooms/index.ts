import type { Route } from "../../http/route.ts";
import { deleteRoomRoute } from "./delete-room.ts";
import { getRoomRoute } from "./get-room.ts";
import { patchRoomRoute } from "./patch-room.ts";
import { putDirectRoomRoute, putRoomRoute } from "./put-room.ts";
import type { RoomDeps } from "./room.ts";

export function roomRoutes(deps: RoomDeps): Route[] {
  return [
    putDirectRoomRoute(deps),
    putRoomRoute(deps),
    getRoomRoute(deps),
    patchRoomRoute(deps),
    deleteRoomRoute(deps),
  ];
}
