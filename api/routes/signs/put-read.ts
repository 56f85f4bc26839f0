import type { Db } from "../../../shared/db/connection/open.ts";
import { readUpTo } from "../../../shared/db/memberships/signs/positions.ts";
import { AppError } from "../../../shared/contract/errors.ts";
import { receiptsOf } from "../../../shared/timeline/signs/publish-unread.ts";
import type { AfterCommit } from "../../after-commit/after-commit.ts";
import { pathRoom } from "../../http/fields.ts";
import { userRoute, type Route } from "../../http/route.ts";
import { requireReadAccess } from "../messages/room-access.ts";
import { numberBody, positionResource, presentPosition } from "./position.ts";

export function putReadRoute({ db, afterCommit }: { db: Db; afterCommit: AfterCommit }): Route {
  return userRoute(
    {
      method: "put",
      path: "/v1/rooms/{kind}/{slug}/read",
      tag: "signs",
      summary: "Say how far I have read",
      description:
        "Forward only: a smaller number than the present one changes nothing, and one beyond the room's last entry stands for " +
        "that entry. In rooms of at most 100 members the others receive it as a receipt, except of guests.",
      body: { schema: numberBody.meta({ id: "ReadUpTo" }), example: { number: 12 } },
      answers: { 200: { schema: positionResource, description: "How far the room is read now" } },
      problems: ["forbidden", "not_found", "invalid"],
      limit: "signs",
    },
    async ({ caller, params, body }) => {
      const { room_id: roomId, user_id: userId } = await requireReadAccess(db, caller, pathRoom(params));
      const position = await readUpTo(db, { roomId, userId, number: body.number });
      if (!position) throw new AppError("not_found", "There is no such room.");
      if (position.has_moved)
        afterCommit.perform([
          { type: "publishUnread", positions: [position] },
          { type: "publishReceipts", receipts: receiptsOf([position], { isForMatrix: true }) },
        ]);
      return { status: 200, body: presentPosition(position) };
    },
  );
}
