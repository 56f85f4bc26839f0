import { findMessage } from "../../../shared/db/messages/messages.ts";
import { wantRetry } from "../../../shared/db/messages/dead/retry-wanted.ts";
import { AppError } from "../../../shared/contract/errors.ts";
import { readMessage } from "../../../shared/contract/resources.ts";
import type { AfterCommit } from "../../after-commit/after-commit.ts";
import { pathRoom } from "../../http/fields.ts";
import { answerResource, userRoute, type Route } from "../../http/route.ts";
import { locationOf, messagePath, pathMessage, readForMember } from "./answer-act.ts";
import type { PostMessageDeps } from "./post-message.ts";
import { requireReadAccess, tag } from "./room-access.ts";

export function retryMessageRoute({
  db,
  afterCommit,
}: PostMessageDeps & { afterCommit: AfterCommit }): Route {
  return userRoute(
    {
      method: "post",
      path: `${messagePath}/retry`,
      tag,
      summary: "Have a dead message sent again",
      description:
        "By its sender. The message keeps its number, and the acts on it that were lost with it follow. A message that is not dead " +
        "is returned as it is. 409 for one that the chat server refused for what it holds, or that is deleted.",
      answers: {
        200: { schema: readMessage, description: "It is not dead" },
        202: { schema: readMessage, description: "It is queued again soon: `message.requeued` says when" },
      },
      problems: ["forbidden", "not_found", "conflict"],
      limit: "acts",
    },
    async ({ caller: { tenantId, ...caller }, params }) => {
      const room = pathRoom(params);
      const access = await requireReadAccess(db, { tenantId, ...caller }, room);
      const place = { roomId: access.room_id, userId: access.user_id, target: pathMessage(params) };
      const message = await readForMember(db, tenantId, place);
      const own = await findMessage(db, tenantId, place.roomId, place.target);
      if (own?.sender_id !== place.userId)
        throw new AppError("forbidden", "You may not do this to the message.");
      const isWanted = await wantRetry(db, { tenantId, roomId: place.roomId, id: place.target });
      if (!isWanted && message.status === "dead")
        throw new AppError("conflict", "The message cannot be sent again.");
      const payload = { tenantId, roomId: place.roomId };
      if (isWanted) afterCommit.perform([{ type: "wakeJob", name: "outbound-message", payload }]);
      const location = locationOf(room, place.target);
      return answerResource(message, { isFinal: !isWanted, location });
    },
  );
}
