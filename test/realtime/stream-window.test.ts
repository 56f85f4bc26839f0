import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { openWorld, type World } from "../support/realtime.ts";
import { readPositions } from "../../shared/db/memberships/subscription-rights.ts";
import type { Room } from "../../shared/db/rooms/rooms.ts";
import { roomStreamKey } from "../../shared/platform/redis-keys.ts";

let world: World;
beforeAll(async () => {
  world = await openWorld({ redisDatabase: 12 });
});
afterAll(() => world.close());

const TWO_MINUTES_MS = 120_000;
const DAY_S = 86_400;

/** Appends `count` messages whose entries were published `ageMs` ago. Returns the key of the stream. */
async function openStream(room: Room, count: number, ageMs: number): Promise<string> {
  await world.append(
    room,
    Array.from({ length: count }, () => "x"),
  );
  const [place] = await readPositions(world.db, [room.id]);
  const key = roomStreamKey(room.id, place?.epoch ?? "");
  const pipeline = world.redis.pipeline();
  const publishedAtMs = Date.now() - ageMs;
  for (let number = 1; number <= count; number++)
    pipeline.xadd(key, `${number}-0`, "m", "{}", "t", publishedAtMs);
  await pipeline.exec();
  return key;
}

/** The first number of a stream, and its number of entries. */
async function windowOf(key: string): Promise<{ first: number; entries: number }> {
  const [first] = await world.redis.xrange(key, "-", "+", "COUNT", 1);
  return { first: Number.parseInt(first?.[0] ?? "0", 10), entries: await world.redis.xlen(key) };
}

test("a stream keeps its newest 300 entries, and at most 63 more, when they are older than two minutes", async () => {
  const room = await world.room("group:old", ["ada"]);
  const key = await openStream(room, 1_000, TWO_MINUTES_MS + 1_000);
  await world.say(room, "new");
  const { first, entries } = await windowOf(key);
  expect(entries).toBeGreaterThanOrEqual(300);
  expect(entries).toBeLessThan(364);
  expect(first).toBe(1_001 - entries + 1);
  expect(await world.redis.ttl(key)).toBeGreaterThan(DAY_S - 60);
});

test("a stream keeps entries that are younger than two minutes, and is kept for ten minutes only", async () => {
  const room = await world.room("group:young", ["ada"]);
  const key = await openStream(room, 1_000, TWO_MINUTES_MS - 30_000);
  await world.say(room, "new");
  expect(await windowOf(key)).toEqual({ first: 1, entries: 1_001 });
  const ttlS = await world.redis.ttl(key);
  expect(ttlS).toBeGreaterThan(540);
  expect(ttlS).toBeLessThanOrEqual(600);
});

test("a stream keeps 5,000 entries at most, however young they are", async () => {
  const room = await world.room("group:busy", ["ada"]);
  const key = await openStream(room, 5_100, 0);
  await world.say(room, "new");
  expect(await windowOf(key)).toEqual({ first: 102, entries: 5_000 });
});

test("entries that a process of version 0.2 published, without a time, count as old", async () => {
  const room = await world.room("group:version-0.2", ["ada"]);
  const key = await openStream(room, 0, 0);
  await world.append(
    room,
    Array.from({ length: 500 }, () => "x"),
  );
  for (let number = 1; number <= 500; number++) await world.redis.xadd(key, `${number}-0`, "m", "{}");
  await world.say(room, "new");
  expect((await windowOf(key)).entries).toBeLessThan(364);
});
