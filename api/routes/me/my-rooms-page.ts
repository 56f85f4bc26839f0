import { z } from "zod";
import type { Db } from "../../../shared/db/connection/open.ts";
import { myRoomResource } from "../../../shared/contract/resources.ts";
import {
  listMyRooms,
  presentMyRooms,
  type ActivityCursor,
  type MyRoomRow,
} from "../../../shared/db/rooms/my-rooms.ts";
import { decodeCursor } from "../../http/fields.ts";
import { pageFields, pageOf, toPage } from "../../http/paging.ts";
import type { Answer } from "../../http/route.ts";

export const myRoomsQuery = z.strictObject(pageFields);
export const myRoomPage = pageOf(myRoomResource, "MyRoomPage");

const cursorShape = z.tuple([z.coerce.number().int().min(0).max(8.64e15), z.uuid()]);

/** A page of the rooms of a user, newest activity first. */
export async function answerMyRooms(
  db: Db,
  { tenantId, user }: { tenantId: string; user: string },
  query: z.output<typeof myRoomsQuery>,
): Promise<Answer> {
  const cursor = decodeCursor(query.cursor, parseActivityCursor);
  const found = await listMyRooms(db, tenantId, user, { limit: query.limit + 1, cursor });
  const { rows, next } = toPage(found, query.limit, formatPosition);
  return { status: 200, body: { items: await presentMyRooms(db, rows), next } };
}

function formatPosition(row: MyRoomRow): string {
  return `${row.active_at.getTime()}.${row.id}`;
}

function parseActivityCursor(text: string): ActivityCursor | null {
  const parsed = cursorShape.safeParse(text.split("."));
  return parsed.success ? { atMs: parsed.data[0], roomId: parsed.data[1] } : null;
}
