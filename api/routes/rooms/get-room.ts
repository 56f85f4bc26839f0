import { AppError } from "../../../shared/contract/errors.ts";
import { isAllowed } from "../../../shared/contract/permissions.ts";
import { roomResource } from "../../../shared/contract/resources.ts";
import { findRoomCaller } from "../../../shared/db/memberships/memberships.ts";
import { requireHolder } from "../../auth/require-holder.ts";
import { pathRoom } from "../../http/fields.ts";
import { serverRoute, userRoute, type Route } from "../../http/route.ts";
import { path, readRoom, tag, type RoomDeps } from "./room.ts";

const shape = {
  method: "get",
  path,
  tag,
  summary: "Read a room",
  answers: { 200: { schema: roomResource, description: "The room" } },
} as const;

export function getRoomRoute({ db }: Pick<RoomDeps, "db">): Route {
  return serverRoute({ ...shape, problems: ["not_found"] }, async ({ caller, params }) => ({
    status: 200,
    body: await readRoom(db, caller.tenantId, pathRoom(params)),
  }));
}

export function getRoomOfUserRoute({ db }: Pick<RoomDeps, "db">): Route {
  return userRoute(
    {
      ...shape,
      description:
        "A room that the user is in, or a public one; 404 for any other. 403 for a locked user. Whoever is not in a public room " +
        "reads neither its members nor its messages.",
      problems: ["forbidden", "not_found"],
    },
    async ({ caller, params }) => {
      const address = pathRoom(params);
      const found = await findRoomCaller(db, caller.tenantId, address, caller.user);
      const { access, status } = requireHolder(found, caller);
      const room = await readRoom(db, caller.tenantId, address);
      const isMember = access !== null && isAllowed(access.standing, "read");
      if (!isMember && room.visibility !== "public")
        throw new AppError("not_found", "There is no such room.");
      if (status === "locked") throw new AppError("forbidden", "The user is locked.");
      return { status: 200, body: room };
    },
  );
}
