import type { Db } from "../../../shared/db/connection/open.ts";
import { MARKED_AT_MOST, markUnreadFrom } from "../../../shared/db/memberships/signs/positions.ts";
import { AppError } from "../../../shared/contract/errors.ts";
import type { AfterCommit } from "../../after-commit/after-commit.ts";
import { pathRoom } from "../../http/fields.ts";
import { userRoute, type Route } from "../../http/route.ts";
import { requireReadAccess } from "../messages/room-access.ts";
import { numberBody, positionResource, presentPosition } from "./position.ts";

export function putUnreadRoute({ db, afterCommit }: { db: Db; afterCommit: AfterCommit }): Route {
  return userRoute(
    {
      method: "put",
      path: "/v1/rooms/{kind}/{slug}/unread",
      tag: "signs",
      summary: "Mark messages as unread, from one on",
      description:
        "On all devices of the person. Others do not see it: receipts never move back. 422 when more than " +
        `${MARKED_AT_MOST.toLocaleString("en")} messages stand above that number.`,
      body: { schema: numberBody.meta({ id: "UnreadFrom" }), example: { number: 12 } },
      answers: { 200: { schema: positionResource, description: "How far the room is read now" } },
      problems: ["forbidden", "not_found", "invalid"],
      limit: "signs",
    },
    async ({ caller, params, body }) => {
      const { room_id: roomId, user_id: userId } = await requireReadAccess(db, caller, pathRoom(params));
      const position = await markUnreadFrom(db, { roomId, userId, number: body.number });
      if (!position)
        throw new AppError("invalid", "The body is not valid.", {
          errors: [{ path: "number", message: "has too many messages above it" }],
        });
      afterCommit.perform([{ type: "publishUnread", positions: [position] }]);
      return { status: 200, body: presentPosition(position) };
    },
  );
}
