import { z } from "zod";
import { directoryRoomResource } from "../../../shared/contract/resources.ts";
import { listPublicRooms, presentDirectoryRoom } from "../../../shared/db/rooms/room-lists.ts";
import { requirePerson } from "../../auth/require-person.ts";
import { decodeCursor } from "../../http/fields.ts";
import { pageFields, pageOf, toPage } from "../../http/paging.ts";
import { userRoute, type Route } from "../../http/route.ts";
import { beginning, kindFilter } from "./list-rooms.ts";
import { listPath, tag, type RoomDeps } from "./room.ts";

const directoryPage = pageOf(directoryRoomResource, "DirectoryPage");

const directoryQuery = z.strictObject({
  visibility: z.literal("public").optional().meta({ description: "A user finds public rooms only" }),
  q: beginning,
  kind: kindFilter,
  ...pageFields,
});

export function findRoomsRoute({ db }: Pick<RoomDeps, "db">): Route {
  return userRoute(
    {
      method: "get",
      path: listPath,
      tag,
      summary: "Find public rooms",
      description:
        "The tenant's public rooms, sorted by name, each with my role in it. 403 for a locked user.",
      query: directoryQuery,
      answers: { 200: { schema: directoryPage, description: "A page of public rooms" } },
      problems: ["forbidden", "invalid"],
    },
    async ({ caller, query: { limit, cursor: place, kind = null, q: text = null } }) => {
      const cursor = decodeCursor(place, (id) => z.uuid().safeParse(id).data ?? null);
      const { id: userId } = await requirePerson(db, caller);
      const wanted = { limit: limit + 1, cursor, kind, text };
      const found = await listPublicRooms(db, caller.tenantId, userId, wanted);
      const { rows, next } = toPage(found, limit, ({ id }) => id);
      return { status: 200, body: { items: rows.map(presentDirectoryRoom), next } };
    },
  );
}
