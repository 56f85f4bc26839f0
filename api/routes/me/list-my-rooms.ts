import type { Db } from "../../../shared/db/connection/open.ts";
import { requirePerson } from "../../auth/require-person.ts";
import { userRoute, type Route } from "../../http/route.ts";
import { answerMyRooms, myRoomPage, myRoomsQuery } from "./my-rooms-page.ts";

export function listMyRoomsRoute({ db }: { db: Db }): Route {
  return userRoute(
    {
      method: "get",
      path: "/v1/me/rooms",
      tag: "me",
      summary: "List my rooms, newest activity first",
      description:
        "401 for a token of a user who does not exist, 403 for a locked user. A room that becomes active while pages are read " +
        "moves to the first page.",
      query: myRoomsQuery,
      answers: { 200: { schema: myRoomPage, description: "A page of rooms" } },
      problems: ["forbidden", "invalid"],
    },
    async ({ caller, query }) => {
      const { tenant_id: tenantId, external_id: user } = await requirePerson(db, caller);
      return answerMyRooms(db, { tenantId, user }, query);
    },
  );
}
