import { z } from "zod";
import type { Db } from "../../../shared/db/connection/open.ts";
import { markOpened } from "../../../shared/db/memberships/members-due.ts";
import { listTimelineMessages, readPosition, type PageEdge } from "../../../shared/db/timeline/pages.ts";
import type { EntryRow } from "../../../shared/db/timeline/entries.ts";
import { AppError } from "../../../shared/contract/errors.ts";
import { isOnMatrix } from "../../../shared/contract/permissions.ts";
import { messageResource, readMessage } from "../../../shared/contract/resources.ts";
import { readOwnReactions } from "../../../shared/db/acts/read-acts.ts";
import { presentTimelineMessage } from "../../../shared/timeline/present/message.ts";
import { pageLimit, pathRoom, timelineNumber } from "../../http/fields.ts";
import { serverRoute, userRoute, type Route } from "../../http/route.ts";
import { listPath, requireReadAccess, requireReader, tag, type Reader } from "./room-access.ts";

const pageQuery = z
  .strictObject({
    limit: pageLimit,
    before: timelineNumber
      .meta({ description: "The newest messages with a smaller number. Not together with after: 422." })
      .optional(),
    after: timelineNumber
      .meta({ description: "The oldest messages with a greater number. Not together with before: 422." })
      .optional(),
    around: timelineNumber
      .meta({
        description:
          "Messages on both sides of a number, with the one that has it. Not together with before or after: 422.",
      })
      .optional(),
  })
  .refine(({ before, after }) => before === undefined || after === undefined, {
    path: ["after"],
    message: "cannot be given together with before",
  })
  .refine(({ before, after, around }) => around === undefined || (before ?? after) === undefined, {
    path: ["around"],
    message: "cannot be given together with before or after",
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
    hasMore: z.boolean().meta({
      description: "Whether more messages follow in the requested direction; with around, in either",
    }),
    hasBefore: z
      .boolean()
      .optional()
      .meta({ description: "With around: whether there are messages before the page" }),
    hasAfter: z
      .boolean()
      .optional()
      .meta({ description: "With around: whether there are messages after the page" }),
  })
  .meta({ id: "MessagePage" });

const shape = {
  method: "get",
  path: listPath,
  tag,
  summary: "Read a page of messages",
  description: "The newest page by default. A socket recovers from the page's epoch and offset.",
  query: pageQuery,
  answers: { 200: { schema: messagePage, description: "A page, oldest first" } },
} as const;

export function listMessagesRoute({ db }: { db: Db }): Route {
  return userRoute(
    { ...shape, problems: ["forbidden", "not_found", "invalid"] },
    async ({ caller, params, query }) => {
      const room = pathRoom(params);
      const access = await requireReadAccess(db, caller, room);
      if (access.opened_at === null && isOnMatrix(access.role, room)) await markOpened(db, access);
      const reader = { roomId: access.room_id, person: access.user_id };
      return { status: 200, body: await readPage(db, caller.tenantId, reader, query) };
    },
  );
}

/** A product's backend reads the messages of every room. */
export function listMessagesByServerRoute({ db }: { db: Db }): Route {
  return serverRoute({ ...shape, problems: ["not_found", "invalid"] }, async ({ caller, params, query }) => {
    const reader = await requireReader(db, caller, pathRoom(params));
    return { status: 200, body: await readPage(db, caller.tenantId, reader, query) };
  });
}

async function readPage(
  db: Db,
  tenantId: string,
  { roomId, person }: Pick<Reader, "roomId" | "person">,
  query: z.output<typeof pageQuery>,
): Promise<z.infer<typeof messagePage>> {
  // The position is read first: a client that recovers from it may receive an entry twice, but misses none.
  const position = await readPosition(db, tenantId, roomId);
  if (!position) throw new AppError("not_found", "There is no such room.");
  const { items, ...more } = await readWindow(db, { tenantId, roomId }, query);
  const reacted = items.flatMap((row) => (row.reactions === null ? [] : [row.entry_id]));
  const own = person === null ? null : await readOwnReactions(db, { roomId, person }, reacted);
  return {
    items: items.map((row) => ({
      ...presentTimelineMessage(row),
      myReactions: own?.get(row.entry_id) ?? [],
    })),
    epoch: position.epoch,
    offset: position.lastNumber,
    sentUpTo: position.sentNumber,
    pending: [],
    ...more,
  };
}

type Window = { items: EntryRow[]; hasMore: boolean; hasBefore?: boolean; hasAfter?: boolean };

/** The messages that a query asks for, and whether there are more. */
async function readWindow(
  db: Db,
  { tenantId, roomId }: { tenantId: string; roomId: string },
  { limit, before, after, around }: z.output<typeof pageQuery>,
): Promise<Window> {
  const list = (edge: PageEdge, most: number) =>
    listTimelineMessages(db, tenantId, roomId, { edge, limit: most + 1 });
  if (around === undefined) {
    const edge: PageEdge = after !== undefined ? { after } : before !== undefined ? { before } : null;
    const rows = await list(edge, limit);
    const items = after !== undefined ? rows.slice(0, limit) : rows.slice(-limit);
    return { items, hasMore: rows.length > limit };
  }
  const [earlier, later] = await Promise.all([
    list({ before: around }, limit),
    list({ after: around - 1 }, limit),
  ]);
  // Half of the page on each side, and more of one where the other has less.
  const half = Math.floor(limit / 2);
  const countLater = Math.min(later.length, Math.max(limit - half, limit - earlier.length));
  const countEarlier = Math.min(earlier.length, limit - countLater);
  const hasBefore = earlier.length > countEarlier;
  const hasAfter = later.length > countLater;
  const items = [...(countEarlier > 0 ? earlier.slice(-countEarlier) : []), ...later.slice(0, countLater)];
  return { items, hasMore: hasBefore || hasAfter, hasBefore, hasAfter };
}
