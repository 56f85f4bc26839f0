import { expect, test } from "@jest/globals";
import { setTimeout as sleep } from "node:timers/promises";
import type { Load } from "./environment/load.ts";
import type { FaultKind } from "./environment/homeserver/faults.ts";
import type { TierProcess } from "./environment/processes.ts";
import { judge, textsOf, waitForAll } from "./environment/checker.ts";
import { percentile } from "../../bench/percentile.ts";
import { useEnvironment } from "../support/faults.ts";
import { until } from "../support/wait.ts";

// The other fault tests read the stream of events.
const faults = useEnvironment({ sendMs: 1, reads: "sync" });

const standIn = () => faults.environment.standIn;
const SEND = /^PUT .*\/send\//;
const EVERYTHING = /^(PUT|POST|GET) .*\/client\//;

/** From each message's acceptance to its last socket, of the rooms named, in milliseconds. */
function waits(load: Load, rooms: readonly string[]): number[] {
  const told = new Map(
    load.subscribers.flatMap(({ known }) =>
      [...known.values()].flatMap((room) => room.told.map(({ id, atMs }) => [id, atMs] as const)),
    ),
  );
  return load.posts
    .filter(({ room }) => rooms.includes(room))
    .map(({ id, acceptedAtMs }) => (told.get(id ?? "") ?? Infinity) - (acceptedAtMs ?? 0));
}

/** The same waits while nothing is wrong: on a busy machine they are long too. */
async function measureCalm(load: Load, rooms: readonly string[]): Promise<number[]> {
  const from = load.posts.length;
  const talk = load.talk(20, faults.random, rooms);
  await sleep(2_000);
  await talk.stop();
  await faults.expectKept(load, 60_000);
  return waits({ ...load, posts: load.posts.slice(from) }, rooms);
}

/** Those waits are short beside what somebody else has to wait for. */
function expectUnaffected(
  found: readonly number[],
  calm: readonly number[],
  limitMs: number,
  what: string,
): void {
  const [p50 = Infinity, p99 = Infinity] = [0.5, 0.99].map((share) => percentile(found, share) ?? Infinity);
  const [calmP50 = 0, calmP99 = 0] = [0.5, 0.99].map((share) => percentile(calm, share) ?? 0);
  faults.report(`p50 of ${what} (calm: ${Math.round(calmP50)} ms)`, p50);
  faults.report(`p99 of ${what} (calm: ${Math.round(calmP99)} ms)`, p99);
  expect(p50).toBeLessThan(limitMs / 2);
  expect(p99).toBeLessThan(limitMs);
}

test("a homeserver that fails every fifth call in every way it can neither loses, doubles nor reorders", async () => {
  const load = await faults.gather({ name: "shaky", rooms: 8, people: 8 });
  const ways: FaultKind[] = [
    { do: "refuse", status: 500, errcode: "M_UNKNOWN" },
    { do: "html", status: 502 },
    { do: "reset" },
    { do: "lose the answer" },
    { do: "hang in head", ms: 700 },
    { do: "hang in body", ms: 700 },
    { do: "limit", retryAfterMs: 300 },
    { do: "delay", ms: 200 },
  ];
  for (const fault of ways) standIn().faults.add({ path: EVERYTHING, share: 0.03, fault });
  const talk = load.talk(50, faults.random);
  await sleep(8_000);
  await talk.stop();
  expect(standIn().faults.done.size).toBeGreaterThan(ways.length / 2);
  standIn().faults.clear();
  await faults.expectKept(load, 60_000);
}, 150_000);

test("one sender who is limited waits as long as the homeserver asks, and other rooms notice nothing", async () => {
  const load = await faults.gather({ name: "limited", rooms: 6, people: 6 });
  const [slow = "", ...others] = load.rooms;
  const sender = load.members.get(slow)?.[0] ?? "";
  for (const room of load.rooms)
    for (const person of load.members.get(room) ?? []) await load.say(room, person);
  await faults.expectKept(load, 60_000);
  const calm = await measureCalm(load, others);
  standIn().faults.add({
    path: SEND,
    body: /too much/,
    count: 1,
    fault: { do: "limit", retryAfterMs: 2_000 },
  });
  const before = standIn().state.sends.length;
  const limitedAtMs = performance.now();
  const limited = await load.say(slow, sender, "too much");
  const from = load.posts.length;
  const talk = load.talk(40, faults.random, others);
  await sleep(1_000);
  await talk.stop();
  const beside = load.posts.slice(from);
  // A new message in the room that waits is no reason to try earlier, even when Redis has forgotten that it waits.
  await faults.environment.redis.flushall();
  await load.say(slow, load.members.get(slow)?.[1] ?? "");
  await faults.expectKept(load, 60_000);
  const sent = standIn()
    .state.sends.slice(before)
    .find(({ transactionId }) => transactionId === limited.id);
  expect((sent?.atMs ?? 0) - limitedAtMs).toBeGreaterThan(1_950);
  expectUnaffected(
    waits({ ...load, posts: beside }, others),
    calm,
    2_000,
    "other rooms while one is limited",
  );
}, 120_000);

test("a message that Matrix will never take is given up with a reason, and the next ones go on", async () => {
  const load = await faults.gather({ name: "poison", rooms: 1, people: 2 });
  const [room = ""] = load.rooms;
  const [person = ""] = load.people;
  standIn().faults.add({
    path: SEND,
    body: /poison in the middle/,
    fault: { do: "refuse", status: 403, errcode: "M_FORBIDDEN" },
  });
  await load.say(room, person);
  const poison = await load.say(room, person, "poison in the middle");
  await load.say(room, person);
  await faults.expectKept(load, 60_000, { dead: 1 });
  const rows = await faults.environment.sql(
    "select status, error_code, error_message from messages where id = ?",
    [poison.id],
  );
  expect(rows).toEqual([
    { status: "dead", error_code: "forbidden", error_message: expect.stringContaining("does not let") },
  ]);
  expect(load.subscribers.every((subscriber) => subscriber.failed.includes(poison.id ?? ""))).toBe(true);
}, 120_000);

test("the same message posted twenty times at once is one message with one answer", async () => {
  const load = await faults.gather({ name: "same", rooms: 1, people: 2 });
  const [room = ""] = load.rooms;
  const [person = ""] = load.people;
  const answers = await Promise.all(
    Array.from({ length: 20 }, () => load.tryOnce(room, person, "once", "same-once")),
  );
  expect(new Set(answers.map(({ id }) => id)).size).toBe(1);
  expect(answers.every(({ status }) => status === 202 || status === 200)).toBe(true);
  const rows = await faults.environment.sql("select 1 from messages where client_id = 'same-once'");
  expect(rows).toHaveLength(1);
});

test("while the homeserver is down I can write, people see it, and all arrives in order when it is back", async () => {
  const load = await faults.gather({ name: "down", rooms: 4, people: 4 });
  for (const room of load.rooms) await load.say(room, load.members.get(room)?.[0] ?? "");
  await faults.expectKept(load, 60_000);
  await standIn().stop();
  const downAtMs = performance.now();
  const talk = load.talk(30, faults.random);
  await sleep(4_000);
  await talk.stop();
  const backAtMs = performance.now();
  await standIn().start();
  await faults.expectKept(load, 60_000);
  const posts = load.posts.filter(({ askedAtMs }) => askedAtMs >= downAtMs);
  expect(new Set(posts.map(({ firstStatus }) => firstStatus))).toEqual(new Set([202]));
  for (const subscriber of load.subscribers) {
    const mine = posts.filter(({ room }) => subscriber.rooms.includes(room));
    expect(mine.filter(({ id }) => subscriber.pending.has(id ?? ""))).toHaveLength(mine.length);
  }
  faults.report(
    "p95 of posting while the homeserver is down",
    percentile(
      posts.map(({ firstAnswerMs }) => firstAnswerMs ?? Infinity),
      0.95,
    ) ?? Infinity,
  );
  faults.report(
    "until all is delivered after the homeserver is back",
    faults.lastDeliveryMs(load) - backAtMs,
  );
}, 120_000);

test("a homeserver that was silent and answers again still gets the time that it asked for one room", async () => {
  const load = await faults.gather({ name: "asked", rooms: 4, people: 4 });
  const [asked = "", ...others] = load.rooms;
  for (const room of load.rooms) await load.say(room, load.members.get(room)?.[0] ?? "");
  await faults.expectKept(load, 60_000);
  standIn().faults.add({
    path: SEND,
    body: /asked to wait/,
    count: 1,
    fault: { do: "limit", retryAfterMs: 12_000 },
  });
  const before = standIn().faults.done.get("limit") ?? 0;
  const limitedAtMs = performance.now();
  const limited = await load.say(asked, load.members.get(asked)?.[0] ?? "", "asked to wait");
  await until(() => standIn().faults.done.get("limit") === before + 1, "it is limited", 10_000);
  await standIn().stop();
  const [worker] = faults.environment.of("workers") as [TierProcess];
  for (const room of others) await load.say(room, load.members.get(room)?.[0] ?? "");
  await until(async () => (await worker.metric("omc_breakers_open")) === 1, "calls are held back", 20_000);
  await standIn().start();
  await faults.expectKept(load, 60_000);
  const waited = (id: string | null) =>
    (standIn().state.sends.find(({ transactionId }) => transactionId === id)?.atMs ?? 0) - limitedAtMs;
  expect(waited(limited.id)).toBeGreaterThan(11_900);
  for (const post of load.posts.slice(-others.length)) expect(waited(post.id)).toBeLessThan(11_900);
}, 120_000);

test("more than a hundred messages that nobody read are read later, all of them, in order", async () => {
  const load = await faults.gather({ name: "unread", rooms: 2, people: 2 });
  const [room = ""] = load.rooms;
  const [person = ""] = load.people;
  await load.say(room, person);
  await faults.expectKept(load, 60_000);
  const [reader] = faults.environment.of("sync") as [TierProcess];
  await reader.stop();
  await Promise.all(Array.from({ length: 350 }, () => load.say(room, person)));
  const sent = async () =>
    (
      await faults.environment.sql<{ open: number }>(
        "select count(*) as open from messages where open and status = 'sent'",
      )
    )[0]?.open;
  await until(async () => (await sent()) === 350, "all are on Matrix", 20_000);
  const backAtMs = performance.now();
  await reader.start();
  // Said while the gap is filled: it stands behind what was not read.
  await Promise.all(Array.from({ length: 20 }, () => load.say(room, person)));
  await faults.expectKept(load, 60_000);
  expect(await reader.metric("omc_gaps_total")).toBeGreaterThan(0);
  faults.report("until 350 unread messages are told", faults.lastDeliveryMs(load) - backAtMs);
}, 120_000);

test("a homeserver whose positions go backwards is read anew, and nothing is told twice", async () => {
  const load = await faults.gather({ name: "backwards", rooms: 3, people: 3 });
  const talk = load.talk(30, faults.random);
  await sleep(1_500);
  await standIn().stop();
  standIn().state.goBackwards(150);
  await standIn().start();
  await sleep(3_000);
  await talk.stop();
  await faults.expectKept(load, 60_000);
}, 120_000);

test("what a restored homeserver has forgotten is sent again once, in order, and what people saw stays", async () => {
  const load = await faults.gather({ name: "restored", rooms: 2, people: 2 });
  const [person = ""] = load.people;
  const sayAll = async (count: number) => {
    const from = load.posts.length;
    for (let said = 0; said < count; said++) for (const room of load.rooms) await load.say(room, person);
    return load.posts.slice(from);
  };
  const kept = await sayAll(1);
  await faults.expectKept(load, 60_000);
  const backup = standIn().state.backUp();
  const seen = await sayAll(10);
  await faults.expectKept(load, 60_000);
  const [reader] = faults.environment.of("sync") as [TierProcess];
  await reader.stop();
  const unseen = await sayAll(20);
  const isOnMatrix = async () =>
    (await faults.environment.sql("select 1 from messages where open and status = 'sent'")).length ===
    unseen.length;
  await until(isOnMatrix, "all are on Matrix", 20_000);

  await standIn().stop();
  standIn().state.restore(backup);
  await standIn().start();
  const backAtMs = performance.now();
  await reader.start();
  // Told to everybody, once and in order; the homeserver alone lacks what it forgot and people saw.
  expect(await waitForAll(load, 60_000)).toBe(true);
  faults.report("until forgotten messages are told", faults.lastDeliveryMs(load) - backAtMs);
  await sayAll(1);
  expect(await waitForAll(load, 60_000)).toBe(true);
  const verdict = await judge(faults.environment, load, { isReal: true });
  expect(verdict).toMatchObject({ accepted: 64, lost: 0, doubled: 0, reordered: 0, dead: 0 });
  for (const room of load.rooms) {
    const there = textsOf(faults.environment, await matrixRoomId(room));
    const wanted = load.posts.filter((post) => post.room === room && !seen.includes(post));
    expect(there).toEqual(wanted.map(({ id }) => id));
  }
  expect(kept).toHaveLength(2);
  const [worker] = faults.environment.of("workers") as [TierProcess];
  expect(await worker.metric("omc_messages_forgotten_total")).toBe(unseen.length);
}, 150_000);

async function matrixRoomId(room: string): Promise<string> {
  const [row] = await faults.environment.sql<{ matrix_room_id: string }>(
    "select matrix_room_id from rooms where kind || ':' || slug = ?",
    [room],
  );
  return row?.matrix_room_id ?? "";
}

test("a room with a thousand waiting messages does not hold up the quiet ones", async () => {
  const load = await faults.gather({ name: "hot", rooms: 30, people: 3 });
  const [hot = "", ...quiet] = load.rooms;
  const speaker = load.members.get(hot)?.[0] ?? "";
  for (const room of load.rooms) await load.say(room, load.members.get(room)?.[0] ?? "");
  await faults.expectKept(load, 60_000);
  const calm = await measureCalm(load, quiet);
  const [worker] = faults.environment.of("workers") as [TierProcess];
  await worker.stop();
  for (let said = 0; said < 1_200; said += 50) {
    await Promise.all(Array.from({ length: 50 }, () => load.say(hot, speaker)));
  }
  standIn().faults.add({ path: SEND, fault: { do: "delay", ms: 5 } });
  await worker.start();
  const startMs = performance.now();
  const from = load.posts.length;
  const talk = load.talk(20, faults.random, quiet);
  await sleep(4_000);
  const [row] = await faults.environment.sql<{ open: number }>(
    "select count(*) as open from messages where open",
  );
  await talk.stop();
  // The quiet rooms were measured while the other one still had much to send.
  expect(row?.open).toBeGreaterThan(100);
  await faults.expectKept(load, 60_000);
  const drainMs = faults.lastDeliveryMs(load) - startMs;
  expectUnaffected(
    waits({ ...load, posts: load.posts.slice(from) }, quiet),
    calm,
    drainMs / 2,
    "quiet rooms beside one with 1,200 waiting",
  );
}, 120_000);
