import { roomResource } from "../../../shared/contract/resources.ts";
import { pathRoom } from "../../http/fields.ts";
import { serverRoute, type Route } from "../../http/route.ts";
import { path, readRoom, tag, type RoomDeps } from "./room.ts";

export function getRoomRoute({ db }: Pick<RoomDeps, "db">): Route {
  return serverRoute(
    {
      method: "get",
      path,
      tag,
      summary: "Read a room",
      answers: { 200: { schema: roomResource, description: "The room" } },
      problems: ["not_found"],
    },
    async ({ caller, params }) => ({
      status: 200,
      body: await readRoom(db, caller.tenantId, pathRoom(params)),
    }),
  );
}
