import { z } from "zod";
import { formatRoomKey, parseRoomKey, roomKind } from "../../../shared/contract/names.ts";
import { roomResource } from "../../../shared/contract/resources.ts";
import { listRooms } from "../../../shared/db/rooms/room-lists.ts";
import { presentRoom } from "../../../shared/db/rooms/rooms.ts";
import { decodeCursor, visibility } from "../../http/fields.ts";
import { pageFields, pageOf, toPage } from "../../http/paging.ts";
import { serverRoute, type Route } from "../../http/route.ts";
import { listPath, tag, type RoomDeps } from "./room.ts";

export const kindFilter = roomKind.optional().meta({ description: "Only rooms of this kind" });

export const beginning = z
  .string()
  .regex(/^[^\p{Cc}]{1,64}$/u, "must be 1 to 64 characters without control characters")
  .optional()
  .meta({
    description: "How the room's name or slug begins, in any case",
    // Readers of the document may know no Unicode properties.
    pattern: "^[^\\u0000-\\u001f\\u007f-\\u009f]{1,64}$",
  });

const roomPage = pageOf(roomResource, "RoomPage");

export function listRoomsRoute({ db }: Pick<RoomDeps, "db">): Route {
  return serverRoute(
    {
      method: "get",
      path: listPath,
      tag,
      summary: "List all rooms",
      description: "All rooms of the tenant, sorted by kind and slug.",
      query: z.strictObject({
        visibility: visibility.optional(),
        q: beginning,
        kind: kindFilter,
        ...pageFields,
      }),
      answers: { 200: { schema: roomPage, description: "A page of rooms" } },
      problems: ["invalid"],
    },
    async ({ caller: { tenantId }, query }) => {
      const { limit, kind = null, visibility: seen = null, q: text = null } = query;
      const cursor = decodeCursor(query.cursor, parseRoomKey);
      const wanted = { limit: limit + 1, cursor, kind, visibility: seen, text };
      const rooms = await listRooms(db, tenantId, wanted);
      const { rows, next } = toPage(rooms, limit, formatRoomKey);
      return { status: 200, body: { items: rows.map(presentRoom), next } };
    },
  );
}
