import { z } from "zod";
import type { Db } from "../../../shared/db/connection/open.ts";
import { findMessage, presentMessage } from "../../../shared/db/messages/messages.ts";
import { findTimelineMessage } from "../../../shared/db/timeline/pages.ts";
import { AppError } from "../../../shared/contract/errors.ts";
import { messageResource, type MessageResource } from "../../../shared/contract/resources.ts";
import { presentTimelineMessage } from "../../../shared/timeline/present/message.ts";
import { pathRoom } from "../../http/fields.ts";
import { userRoute, type Route } from "../../http/route.ts";
import { listPath, requireReadAccess, tag } from "./room-access.ts";

export function getMessageRoute({ db }: { db: Db }): Route {
  return userRoute(
    {
      method: "get",
      path: `${listPath}/{id}`,
      tag,
      summary: "Read a message",
      description:
        "403 for a locked user, 404 for a room that the user is not in. A message of mine shows here how far it has come.",
      answers: { 200: { schema: messageResource, description: "The message" } },
      problems: ["forbidden", "not_found"],
    },
    async ({ caller, params }) => {
      const access = await requireReadAccess(db, caller, pathRoom(params));
      const id = z.uuid().safeParse(params["id"]).data;
      const message = id === undefined ? null : await readMessage(db, caller.tenantId, access.room_id, id);
      if (!message) throw new AppError("not_found", "There is no such message.");
      return { status: 200, body: message };
    },
  );
}

/** A message that came through the API, with its status, or one that was written on Matrix. */
async function readMessage(
  db: Db,
  tenantId: string,
  roomId: string,
  id: string,
): Promise<MessageResource | null> {
  const own = await findMessage(db, tenantId, roomId, id);
  if (own) return presentMessage(own);
  const entry = await findTimelineMessage(db, tenantId, roomId, id);
  return entry ? presentTimelineMessage(entry) : null;
}
