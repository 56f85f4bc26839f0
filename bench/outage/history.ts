import { z } from "zod";
import { callOk, type Http } from "../burst/http.ts";
import type { Posted } from "./posts.ts";
import type { Person, Room } from "./rooms.ts";

const MAX_PAGES = 1_000;

const page = z.object({
  items: z.array(z.object({ id: z.string(), number: z.int() })),
  hasMore: z.boolean(),
});
export type Item = z.infer<typeof page>["items"][number];

/** Loads the newest page of a room, or the one before a number. */
export async function readPage(
  http: Http,
  { path }: Room,
  { token }: Person,
  before?: number,
): Promise<z.infer<typeof page>> {
  const query = before === undefined ? "" : `?before=${String(before)}`;
  return page.parse(
    await callOk(http, { method: "GET", path: `${path}/messages${query}`, credential: token }),
  );
}

/** Loads all of a room's history since the outage began. Oldest first. */
export async function readHistory(http: Http, room: Room, person: Person): Promise<Item[]> {
  let items: Item[] = [];
  for (let pages = 0; pages < MAX_PAGES; pages++) {
    const loaded = await readPage(http, room, person, items[0]?.number);
    items = [...loaded.items, ...items];
    if (!loaded.hasMore || (items[0]?.number ?? 0) <= room.startNumber) break;
  }
  return items.filter(({ number }) => number > room.startNumber);
}

/**
 * What a page lacks: messages from its first number on that were accepted before it was asked for, and numbers that it jumps
 * over. No other entries are made meanwhile, so that messages have all numbers since the outage began.
 */
export function countMissing(
  items: readonly Item[],
  accepted: readonly Pick<Posted, "id" | "number">[],
  startNumber: number,
): number {
  const first = Math.max(items[0]?.number ?? 0, startNumber + 1);
  const numbers = new Map(items.map(({ id, number }) => [id, number]));
  const missing = accepted.filter(({ id, number }) => number >= first && numbers.get(id) !== number).length;
  const newest = items.at(-1)?.number ?? startNumber;
  const has = items.filter(({ number }) => number >= first).length;
  return missing + Math.max(0, newest - first + 1 - has);
}
