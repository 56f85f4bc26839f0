import { findUser } from "../../../shared/db/users/users.ts";
import { AppError } from "../../../shared/contract/errors.ts";
import { pathUser } from "../../http/fields.ts";
import { serverRoute, type Route } from "../../http/route.ts";
import { answerMyRooms, myRoomPage, myRoomsQuery } from "../me/my-rooms-page.ts";
import { path, tag, type UserDeps } from "./user.ts";

export function listUserRoomsRoute({ db }: Pick<UserDeps, "db">): Route {
  return serverRoute(
    {
      method: "get",
      path: `${path}/rooms`,
      tag,
      summary: "List a user's rooms, newest activity first",
      description:
        "As the user sees them. A room that becomes active while pages are read moves to the first page.",
      query: myRoomsQuery,
      answers: { 200: { schema: myRoomPage, description: "A page of rooms" } },
      problems: ["not_found", "invalid"],
    },
    async ({ caller: { tenantId }, params, query }) => {
      const user = pathUser(params);
      if (!(await findUser(db, tenantId, user))) throw new AppError("not_found", "There is no such user.");
      return answerMyRooms(db, { tenantId, user }, query);
    },
  );
}
