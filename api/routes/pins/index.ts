import { z } from "zod";
import { listPinned } from "../../../shared/db/pins/pinned.ts";
import { readOwnReactions } from "../../../shared/db/acts/read-acts.ts";
import type { Db } from "../../../shared/db/connection/open.ts";
import { readMessage } from "../../../shared/contract/resources.ts";
import { presentTimelineMessage } from "../../../shared/timeline/present/message.ts";
import { pathRoom } from "../../http/fields.ts";
import { userRoute, type Route } from "../../http/route.ts";
import { actedMessage, answerActed, messagePath, performAct } from "../messages/answer-act.ts";
import type { PostMessageDeps } from "../messages/post-message.ts";
import { requireReadAccess, tag } from "../messages/room-access.ts";

type Wish = { method: "put" | "delete"; kind: "pin" | "unpin"; summary: string };

/** Sets whether a message is pinned. */
function pinRoute(deps: PostMessageDeps, { method, kind, summary }: Wish): Route {
  return userRoute(
    {
      method,
      path: `${messagePath}/pin`,
      tag,
      summary,
      description:
        "By moderators and above. Counts at once; `act` says how far the chat server has followed. What is so already is left " +
        "alone. At most 50 messages of a room are pinned: 409 for one more, and for a deleted message.",
      answers: {
        200: { schema: actedMessage, description: "So it is, on the chat server too" },
        202: { schema: actedMessage, description: "So it is here; the chat server follows" },
      },
      problems: ["forbidden", "not_found", "conflict", "unavailable"],
      headers: ["Prefer"],
      limit: "acts",
    },
    async (call) =>
      answerActed(
        deps.db,
        call.caller.tenantId,
        await performAct(deps, call, { act: { kind }, isUnlimited: false }),
      ),
  );
}

const pinned = z
  .strictObject({
    items: z.array(readMessage).meta({ description: "At most 50, the one that was pinned last comes first" }),
  })
  .meta({ id: "Pins" });

function listPinsRoute({ db }: { db: Db }): Route {
  return userRoute(
    {
      method: "get",
      path: "/v1/rooms/{kind}/{slug}/pins",
      tag,
      summary: "List the pinned messages of a room",
      answers: { 200: { schema: pinned, description: "The pinned messages, as they are now" } },
      problems: ["forbidden", "not_found"],
    },
    async ({ caller, params }) => {
      const { room_id: roomId, user_id: person } = await requireReadAccess(db, caller, pathRoom(params));
      const rows = await listPinned(db, caller.tenantId, roomId);
      const reacted = rows.flatMap((row) => (row.reactions === null ? [] : [row.entry_id]));
      const own = await readOwnReactions(db, { roomId, person }, reacted);
      const items = rows.map((row) => ({
        ...presentTimelineMessage(row),
        myReactions: own.get(row.entry_id) ?? [],
      }));
      return { status: 200, body: { items } };
    },
  );
}

export function pinRoutes(deps: PostMessageDeps): Route[] {
  return [
    pinRoute(deps, { method: "put", kind: "pin", summary: "Pin a message" }),
    pinRoute(deps, { method: "delete", kind: "unpin", summary: "End the pinning of a message" }),
    listPinsRoute(deps),
  ];
}
