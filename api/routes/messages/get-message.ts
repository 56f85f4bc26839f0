import type { Db } from "../../../shared/db/connection/open.ts";
import { findMessage, presentMessage } from "../../../shared/db/messages/messages.ts";
import { findTimelineMessage } from "../../../shared/db/timeline/pages.ts";
import { presentTimelineMessage } from "../../../shared/timeline/present/message.ts";
import { readMessage, type ReadMessage } from "../../../shared/contract/resources.ts";
import { pathRoom } from "../../http/fields.ts";
import { serverRoute, userRoute, type Route } from "../../http/route.ts";
import { messagePath, noSuchMessage, pathMessage, readForMember } from "./answer-act.ts";
import { requireReadAccess, requireReader, tag } from "./room-access.ts";

export function getMessageRoute({ db }: { db: Db }): Route {
  return userRoute(
    {
      method: "get",
      path: messagePath,
      tag,
      summary: "Read a message",
      description:
        "403 for a locked user, 404 for a room that the user is not in. A message of mine shows here how far it has come.",
      answers: { 200: { schema: readMessage, description: "The message" } },
      problems: ["forbidden", "not_found"],
    },
    async ({ caller, params }) => {
      const { room_id: roomId, user_id: userId } = await requireReadAccess(db, caller, pathRoom(params));
      const target = pathMessage(params);
      const place = { roomId, userId, target };
      return { status: 200, body: await read(db, caller.tenantId, place) };
    },
  );
}

/** A product's backend reads the messages of every room. */
export function getMessageByServerRoute({ db }: { db: Db }): Route {
  return serverRoute(
    {
      ...{ method: "get", path: messagePath, tag, summary: "Read a message" },
      answers: { 200: { schema: readMessage, description: "The message" } },
      problems: ["not_found"],
    },
    async ({ caller, params }) => {
      const { roomId } = await requireReader(db, caller, pathRoom(params));
      const row = await findTimelineMessage(db, caller.tenantId, roomId, pathMessage(params));
      if (!row) throw noSuchMessage();
      return { status: 200, body: { ...presentTimelineMessage(row), myReactions: [] } };
    },
  );
}

/** A message of the timeline, or a dead one of version 0.2, which stands in none. */
async function read(
  db: Db,
  tenantId: string,
  place: { roomId: string; userId: string; target: string },
): Promise<ReadMessage> {
  try {
    return await readForMember(db, tenantId, place);
  } catch (error) {
    const own = await findMessage(db, tenantId, place.roomId, place.target);
    if (!own) throw error;
    return { ...presentMessage(own), myReactions: [] };
  }
}
