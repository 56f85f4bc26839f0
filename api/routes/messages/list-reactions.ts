import { z } from "zod";
import { listReactions, type ReactionRow } from "../../../shared/db/acts/read-acts.ts";
import type { Db } from "../../../shared/db/connection/open.ts";
import { findTimelineMessage } from "../../../shared/db/timeline/pages.ts";
import { comparedKey } from "../../../shared/contract/content/reaction.ts";
import { person } from "../../../shared/contract/resources.ts";
import { presentPerson } from "../../../shared/timeline/present/person.ts";
import {
  cursorText,
  decodeCursor,
  encodeCursor,
  nextCursor,
  pageLimit,
  pathRoom,
} from "../../http/fields.ts";
import { userRoute, type Route } from "../../http/route.ts";
import { messagePath, noSuchMessage, pathMessage } from "./answer-act.ts";
import { requireReadAccess, tag } from "./room-access.ts";

const MAX_KEY = 64;

const query = z.strictObject({
  key: z.string().min(1).max(MAX_KEY).optional().meta({ description: "Only who reacted with this key" }),
  limit: pageLimit,
  cursor: cursorText.optional(),
});

const page = z
  .strictObject({
    items: z
      .array(z.strictObject({ key: z.string(), user: person, at: z.string() }))
      .meta({ description: "The oldest first" }),
    next: nextCursor,
  })
  .meta({ id: "ReactionPage" });

export function listReactionsRoute({ db }: { db: Db }): Route {
  return userRoute(
    {
      method: "get",
      path: `${messagePath}/reactions`,
      tag,
      summary: "List who reacted to a message",
      query,
      answers: { 200: { schema: page, description: "A page, the oldest first" } },
      problems: ["forbidden", "not_found", "invalid"],
    },
    async ({ caller, params, query: { key, limit, cursor } }) => {
      const { room_id: roomId } = await requireReadAccess(db, caller, pathRoom(params));
      const target = pathMessage(params);
      if (!(await findTimelineMessage(db, caller.tenantId, roomId, target))) throw noSuchMessage();
      const after = decodeCursor(cursor, parseNumber) ?? 0;
      const wanted = key === undefined ? null : comparedKey(key);
      const rows = await listReactions(db, { roomId, target, key: wanted, after, limit: limit + 1 });
      const items = rows.slice(0, limit);
      const last = items.at(-1);
      const next = rows.length > limit && last ? encodeCursor(String(last.number)) : null;
      return { status: 200, body: { items: items.map((row) => present(row, roomId)), next } };
    },
  );
}

function present({ key, user, at }: ReactionRow, roomId: string) {
  return { key, user: presentPerson(user, roomId), at: at.toISOString() };
}

function parseNumber(text: string): number | null {
  return /^\d{1,15}$/.test(text) ? Number(text) : null;
}
