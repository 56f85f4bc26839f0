import { z } from "zod";
import { createHttp } from "../burst/http.ts";
import {
  createMatrixCall,
  readMatrixRooms,
  readMatrixUsers,
  type MatrixAccess,
  type MatrixCall,
} from "../matrix/access.ts";
import { checkDelivery, type DeliveryCounts } from "../scenario/checker.ts";
import type { Posted } from "./posts.ts";
import type { Talk } from "./rooms.ts";

const PAGE = 100;
const MAX_PAGES = 10_000;

const messages = z.object({
  chunk: z.array(z.object({ type: z.string(), content: z.object({ body: z.string().optional() }) })),
  end: z.string().optional(),
});

/** Reads all rooms from the homeserver. Compares what stands there, as one who reads, with what we accepted, in our order. */
export async function compareWithMatrix(
  access: MatrixAccess,
  { people, rooms }: Talk,
  accepted: readonly Posted[],
): Promise<DeliveryCounts> {
  const [sender = ""] = await readMatrixUsers(access.databaseUrl, [people[0]?.user ?? ""]);
  const matrixRooms = await readMatrixRooms(
    access.databaseUrl,
    rooms.map(({ slug }) => slug),
  );
  const ids = new Map(accepted.map(({ text, id }) => [text, id]));
  const http = createHttp(access.homeserverUrl, 1);
  try {
    const call = createMatrixCall(http, access.asToken);
    const found: { id: string; channel: string }[] = [];
    for (const [index, { key }] of rooms.entries()) {
      const texts = await readTexts(call, matrixRooms[index] ?? "", sender);
      found.push(...texts.flatMap((text) => ids.get(text) ?? []).map((id) => ({ id, channel: key })));
    }
    return checkDelivery(accepted, [{ rooms: rooms.map(({ key }) => key), messages: found }]);
  } finally {
    http.close();
  }
}

/** The texts of a room's messages that are not redacted, oldest first. */
async function readTexts(call: MatrixCall, matrixRoom: string, sender: string): Promise<string[]> {
  const newestFirst: string[] = [];
  let from: string | undefined;
  for (let pages = 0; pages < MAX_PAGES; pages++) {
    const query = new URLSearchParams({
      dir: "b",
      limit: String(PAGE),
      ...(from === undefined ? {} : { from }),
    });
    const path = `/rooms/${encodeURIComponent(matrixRoom)}/messages?${query.toString()}`;
    const { chunk, end } = messages.parse(await call("GET", path, { sender }));
    for (const { type, content } of chunk)
      if (type === "m.room.message" && content.body !== undefined) newestFirst.push(content.body);
    if (end === undefined) break;
    from = end;
  }
  return newestFirst.reverse();
}
