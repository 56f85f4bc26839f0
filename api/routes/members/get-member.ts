import { findRoom } from "../../../shared/db/rooms/rooms.ts";
import { AppError } from "../../../shared/contract/errors.ts";
import { memberResource } from "../../../shared/contract/resources.ts";
import { pathRoom, pathUser } from "../../http/fields.ts";
import { serverRoute, type Route } from "../../http/route.ts";
import { path, readMember, tag, type MemberDeps } from "./member.ts";

export function getMemberRoute({ db }: Pick<MemberDeps, "db">): Route {
  return serverRoute(
    {
      method: "get",
      path,
      tag,
      summary: "Read a member, also a removed one",
      answers: { 200: { schema: memberResource, description: "The member" } },
      problems: ["not_found"],
    },
    async ({ caller: { tenantId }, params }) => {
      const room = await findRoom(db, tenantId, pathRoom(params));
      if (!room) throw new AppError("not_found", "There is no such room.");
      return {
        status: 200,
        body: await readMember(db, { tenantId, roomId: room.id, user: pathUser(params) }),
      };
    },
  );
}
