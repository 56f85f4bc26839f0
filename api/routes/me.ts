import { z } from "zod";
import {
  listMyRooms,
  presentMyRooms,
  type ActivityCursor,
  type MyRoomRow,
} from "../../shared/db/rooms/my-rooms.ts";
import type { Db } from "../../shared/db/connection/open.ts";
import { findUser } from "../../shared/db/users/users.ts";
import { AppError } from "../../shared/contract/errors.ts";
import { myRoomResource } from "../../shared/contract/resources.ts";
import { requireHolder } from "../auth/require-holder.ts";
import { cursorText, decodeCursor, encodeCursor, nextCursor, pageLimit } from "../http/fields.ts";
import { userRoute, type Route } from "../http/route.ts";

const listQuery = z.strictObject({ limit: pageLimit, cursor: cursorText.optional() });
const myRoomPage = z
  .strictObject({ items: z.array(myRoomResource), next: nextCursor })
  .meta({ id: "MyRoomPage" });

const cursorShape = z.tuple([z.coerce.number().int().min(0).max(8.64e15), z.uuid()]);

export function meRoutes({ db }: { db: Db }): Route[] {
  return [
    userRoute(
      {
        method: "get",
        path: "/v1/me/rooms",
        tag: "me",
        summary: "List my rooms, newest activity first",
        description:
          "401 for a token of a user who does not exist, 403 for a locked user. A room that becomes active while pages are read " +
          "moves to the first page.",
        query: listQuery,
        answers: { 200: { schema: myRoomPage, description: "A page of rooms" } },
        problems: ["forbidden", "invalid"],
      },
      async ({ caller, query }) => {
        const cursor = decodeCursor(query.cursor, parseActivityCursor);
        const user = requireHolder(await findUser(db, caller.tenantId, caller.user), caller);
        if (user.status === "locked") throw new AppError("forbidden", "The user is locked.");
        const rows = await listMyRooms(db, caller.tenantId, caller.user, { limit: query.limit + 1, cursor });
        const page = rows.slice(0, query.limit);
        const last = page.at(-1);
        const next = rows.length > page.length && last ? formatActivityCursor(last) : null;
        return { status: 200, body: { items: await presentMyRooms(db, page), next } };
      },
    ),
  ];
}

function formatActivityCursor(row: MyRoomRow): string {
  return encodeCursor(`${row.active_at.getTime()}.${row.id}`);
}

function parseActivityCursor(text: string): ActivityCursor | null {
  const parsed = cursorShape.safeParse(text.split("."));
  return parsed.success ? { atMs: parsed.data[0], roomId: parsed.data[1] } : null;
}
