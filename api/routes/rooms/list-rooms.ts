import { z } from "zod";
import { formatRoomKey, parseRoomKey, roomKind } from "../../../shared/contract/names.ts";
import { roomResource } from "../../../shared/contract/resources.ts";
import { listRooms } from "../../../shared/db/rooms/room-lists.ts";
import { presentRoom } from "../../../shared/db/rooms/rooms.ts";
import { decodeCursor } from "../../http/fields.ts";
import { pageFields, pageOf, toPage } from "../../http/paging.ts";
import { serverRoute, type Route } from "../../http/route.ts";
import { listPath, tag, type RoomDeps } from "./room.ts";

export const kindFilter = roomKind.optional().meta({ description: "Only rooms of this kind" });

const roomPage = pageOf(roomResource, "RoomPage");

export function listRoomsRoute({ db }: Pick<RoomDeps, "db">): Route {
  return serverRoute(
    {
      method: "get",
      path: listPath,
      tag,
      summary: "List all rooms",
      description: "All rooms of the tenant, sorted by kind and slug.",
      query: z.strictObject({ kind: kindFilter, ...pageFields }),
      answers: { 200: { schema: roomPage, description: "A page of rooms" } },
      problems: ["invalid"],
    },
    async ({ caller: { tenantId }, query: { limit, cursor: text, kind = null } }) => {
      const cursor = decodeCursor(text, parseRoomKey);
      const rooms = await listRooms(db, tenantId, { limit: limit + 1, cursor, kind });
      const { rows, next } = toPage(rooms, limit, formatRoomKey);
      return { status: 200, body: { items: rows.map(presentRoom), next } };
    },
  );
}
