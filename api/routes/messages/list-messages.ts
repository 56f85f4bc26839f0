import { z } from "zod";
import type { Db } from "../../../shared/db/connection/open.ts";
import { markOpened } from "../../../shared/db/memberships/members-due.ts";
import { listTimelineMessages, readPosition, type PageEdge } from "../../../shared/db/timeline/pages.ts";
import { AppError } from "../../../shared/contract/errors.ts";
import { isAllowed } from "../../../shared/contract/permissions.ts";
import { messageResource, readMessage } from "../../../shared/contract/resources.ts";
import { readOwnReactions } from "../../../shared/db/acts/read-acts.ts";
import { presentTimelineMessage } from "../../../shared/timeline/present/message.ts";
import { pageLimit, pathRoom, timelineNumber } from "../../http/fields.ts";
import { userRoute, type Route } from "../../http/route.ts";
import { listPath, requireReadAccess, tag } from "./room-access.ts";

const pageQuery = z
  .strictObject({
    limit: pageLimit,
    before: timelineNumber
      .meta({ description: "The newest messages with a smaller number. Not together with after: 422." })
      .optional(),
    after: timelineNumber
      .meta({ description: "The oldest messages with a greater number. Not together with before: 422." })
      .optional(),
  })
  .refine(({ before, after }) => before === undefined || after === undefined, {
    path: ["after"],
    message: "cannot be given together with before",
  });

const messagePage = z
  .strictObject({
    items: z.array(readMessage).meta({ description: "Oldest first" }),
    epoch: z.string(),
    offset: z.int().meta({ description: "Number of the room's last entry, read before the items" }),
    sentUpTo: z.int().meta({
      description: "All messages that came through the API are on Matrix up to this number, or dead",
    }),
    pending: z.array(messageResource).max(0).meta({
      description: "Always empty: every accepted message is in the timeline",
      deprecated: true,
    }),
    hasMore: z.boolean().meta({ description: "Whether more messages follow in the requested direction" }),
  })
  .meta({ id: "MessagePage" });

export function listMessagesRoute({ db }: { db: Db }): Route {
  return userRoute(
    {
      method: "get",
      path: listPath,
      tag,
      summary: "Read a page of messages",
      description: "The newest page by default. A socket recovers from the page's epoch and offset.",
      query: pageQuery,
      answers: { 200: { schema: messagePage, description: "A page, oldest first" } },
      problems: ["forbidden", "not_found", "invalid"],
    },
    async ({ caller, params, query: { limit, before, after } }) => {
      const access = await requireReadAccess(db, caller, pathRoom(params));
      const { tenantId } = caller;
      // The position is read first: a client that recovers from it may receive an entry twice, but misses none.
      const position = await readPosition(db, tenantId, access.room_id);
      if (!position) throw new AppError("not_found", "There is no such room.");
      const edge: PageEdge = after !== undefined ? { after } : before !== undefined ? { before } : null;
      const rows = await listTimelineMessages(db, tenantId, access.room_id, { edge, limit: limit + 1 });
      if (access.opened_at === null && isAllowed(access.role, "post")) await markOpened(db, access);
      const items = after !== undefined ? rows.slice(0, limit) : rows.slice(-limit);
      const reacted = items.flatMap((row) => (row.reactions === null ? [] : [row.entry_id]));
      const own = await readOwnReactions(db, { roomId: access.room_id, person: access.user_id }, reacted);
      const body: z.infer<typeof messagePage> = {
        items: items.map((row) => ({
          ...presentTimelineMessage(row),
          myReactions: own.get(row.entry_id) ?? [],
        })),
        epoch: position.epoch,
        offset: position.lastNumber,
        sentUpTo: position.sentNumber,
        pending: [],
        hasMore: rows.length > limit,
      };
      return { status: 200, body };
    },
  );
}
