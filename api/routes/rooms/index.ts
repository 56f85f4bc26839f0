import type { Route } from "../../http/route.ts";
import { deleteRoomRoute } from "./delete-room.ts";
import { findRoomsRoute } from "./find-rooms.ts";
import { getRoomOfUserRoute, getRoomRoute } from "./get-room.ts";
import { joinRoomRoute, leaveRoomRoute } from "./join-room.ts";
import { listRoomsRoute } from "./list-rooms.ts";
import { patchRoomByUserRoute, patchRoomRoute } from "./patch-room.ts";
import { putDirectRoomRoute, putMyDirectRoomRoute } from "./put-direct-room.ts";
import { putRoomRoute } from "./put-room.ts";
import type { RoomDeps } from "./room.ts";

export function roomRoutes(deps: RoomDeps): Route[] {
  return [
    listRoomsRoute(deps),
    findRoomsRoute(deps),
    putDirectRoomRoute(deps),
    putMyDirectRoomRoute(deps),
    putRoomRoute(deps),
    getRoomRoute(deps),
    getRoomOfUserRoute(deps),
    patchRoomRoute(deps),
    patchRoomByUserRoute(deps),
    deleteRoomRoute(deps),
    joinRoomRoute(deps),
    leaveRoomRoute(deps),
  ];
}
