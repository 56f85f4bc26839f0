import { expect, test } from "@jest/globals";
import { setTimeout as sleep } from "node:timers/promises";
import type { Load } from "./environment/load.ts";
import type { FaultKind } from "./environment/homeserver/faults.ts";
import type { TierProcess } from "./environment/processes.ts";
import { checkLoad, waitForDelivery } from "./environment/checker.ts";
import { percentile } from "../../bench/percentile.ts";
import { useEnvironment } from "./environment/use-environment.ts";
import { until } from "../support/wait.ts";

// The other fault tests read with `/events`.
const faults = useEnvironment({ sendMs: 1, reads: "sync" });

const standIn = () => faults.environment.standIn;
const SEND = /^PUT .*\/send\//;
const EVERYTHING = /^(PUT|POST|GET) .*\/client\//;

/** Milliseconds from acceptance to Matrix, for each message of the named rooms. */
function waits(load: Load, rooms: readonly string[]): number[] {
  const sent = new Map(standIn().state.sends.map(({ transactionId, atMs }) => [transactionId, atMs]));
  return load.posts
    .filter(({ room }) => rooms.includes(room))
    .map(({ id, acceptedAtMs }) => (sent.get(id ?? "") ?? Infinity) - (acceptedAtMs ?? 0));
}

/** The same times without a fault: on a busy machine they are long too. */
async function measureCalm(load: Load, rooms: readonly string[]): Promise<number[]> {
  const from = load.posts.length;
  const traffic = load.startTraffic(20, faults.random, rooms);
  await sleep(2_000);
  await traffic.stop();
  await faults.expectKept(load, 60_000);
  return waits({ ...load, posts: load.posts.slice(from) }, rooms);
}

/** Expects the times to be short, beside the delay of another room. */
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

test("no message is lost, doubled or reordered by a homeserver that fails every fifth call in every known way", async () => {
  const load = await faults.openLoad({ name: "shaky", rooms: 8, people: 8 });
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
  const traffic = load.startTraffic(50, faults.random);
  await sleep(8_000);
  await traffic.stop();
  expect(standIn().faults.done.size).toBeGreaterThan(ways.length / 2);
  standIn().faults.clear();
  await faults.expectKept(load, 60_000);
}, 150_000);

test("one rate-limited sender waits for the requested time, and other rooms are not delayed", async () => {
  const load = await faults.openLoad({ name: "limited", rooms: 6, people: 6 });
  const [slow = "", ...others] = load.rooms;
  const sender = load.members.get(slow)?.[0] ?? "";
  for (const room of load.rooms)
    for (const person of load.members.get(room) ?? []) await load.post(room, person);
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
  const limited = await load.post(slow, sender, "too much");
  const from = load.posts.length;
  const traffic = load.startTraffic(40, faults.random, others);
  await sleep(1_000);
  await traffic.stop();
  const beside = load.posts.slice(from);
  // A new message in the waiting room causes no earlier attempt, even when Redis has lost the delay.
  await faults.environment.redis.flushall();
  await load.post(slow, load.members.get(slow)?.[1] ?? "");
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

test("a message that Matrix refuses for good is dead with a reason, and the next ones are delivered", async () => {
  const load = await faults.openLoad({ name: "poison", rooms: 1, people: 2 });
  const [room = ""] = load.rooms;
  const [person = ""] = load.people;
  standIn().faults.add({
    path: SEND,
    body: /poison in the middle/,
    fault: { do: "refuse", status: 403, errcode: "M_FORBIDDEN" },
  });
  await load.post(room, person);
  const poison = await load.post(room, person, "poison in the middle");
  await load.post(room, person);
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

test("a message outlives every answer that is no verdict on it, with each try recorded, and one that is ends it", async () => {
  const answers: [string, FaultKind][] = [
    ["M_UNRECOGNIZED (HTTP 404)", { do: "refuse", status: 404, errcode: "M_UNRECOGNIZED" }],
    ["M_UNRECOGNIZED (HTTP 405)", { do: "refuse", status: 405, errcode: "M_UNRECOGNIZED" }],
    ["M_NOT_JSON (HTTP 400)", { do: "refuse", status: 400, errcode: "M_NOT_JSON" }],
    ["M_UNKNOWN (HTTP 400)", { do: "refuse", status: 400, errcode: "M_UNKNOWN" }],
    ["M_UNKNOWN (HTTP 403)", { do: "refuse", status: 403, errcode: "M_UNKNOWN" }],
    ["M_NOT_FOUND (HTTP 404)", { do: "refuse", status: 404, errcode: "M_NOT_FOUND" }],
    ["M_UNKNOWN (HTTP 409)", { do: "refuse", status: 409, errcode: "M_UNKNOWN" }],
    ["no Matrix answer (HTTP 413)", { do: "html", status: 413 }],
    ["no Matrix answer (HTTP 404)", { do: "html", status: 404 }],
    ["no Matrix answer (HTTP 403)", { do: "html", status: 403 }],
  ];
  // What a message needs before it is sent gets such answers too, with a status of their own: they are tries as well.
  for (const path of [/createRoom/, /\/register/, /\/join$/, /\/invite$/])
    standIn().faults.add({ path, count: 2, fault: { do: "refuse", status: 400, errcode: "M_UNRECOGNIZED" } });
  const load = await faults.openLoad({ name: "unclear", rooms: answers.length + 1, people: 3 });
  const [verdictRoom = "", ...rooms] = load.rooms;
  const say = (room: string, text?: string) => load.post(room, load.members.get(room)?.[0] ?? "", text);
  const tries = 4;
  answers.forEach(([, fault], index) => {
    standIn().faults.add({ path: SEND, body: new RegExp(`answer ${index}\\b`), count: tries, fault });
  });
  standIn().faults.add({
    path: SEND,
    body: /too large/,
    fault: { do: "refuse", status: 413, errcode: "M_TOO_LARGE" },
  });
  const posts = await Promise.all(rooms.map((room, index) => say(room, `answer ${index}`)));
  const verdict = await say(verdictRoom, "too large");
  // What follows in the rooms.
  await Promise.all(load.rooms.map((room) => say(room)));
  await faults.expectKept(load, 60_000, { dead: 1 });
  const failures = async (id: string | null) =>
    (
      await faults.environment.sql<{ detail: string }>(
        "select detail from delivery_attempts where message_id = ? order by at",
        [id],
      )
    ).map(({ detail }) => detail);
  for (const [index, post] of posts.entries()) {
    const [detail = ""] = answers[index] ?? [];
    const found = (await failures(post.id)).filter((text) => text === detail);
    expect([detail, found.length]).toEqual([detail, tries]);
  }
  const ofMessage = (await failures(verdict.id)).filter((text) => text !== "M_UNRECOGNIZED (HTTP 400)");
  expect(ofMessage).toEqual(["M_TOO_LARGE (HTTP 413)"]);
}, 120_000);

test("the same message posted twenty times at once is one message, and every post gets the same response", async () => {
  const load = await faults.openLoad({ name: "same", rooms: 1, people: 2 });
  const [room = ""] = load.rooms;
  const [person = ""] = load.people;
  const answers = await Promise.all(
    Array.from({ length: 20 }, () => load.postOnce(room, person, "once", "same-once")),
  );
  expect(new Set(answers.map(({ id }) => id)).size).toBe(1);
  expect(answers.every(({ status }) => status === 202 || status === 200)).toBe(true);
  const rows = await faults.environment.sql("select 1 from messages where client_id = 'same-once'");
  expect(rows).toHaveLength(1);
});

test("while the homeserver is down, people talk as if nothing were: sockets, recoveries and pages; Matrix has all of it in order later", async () => {
  const load = await faults.openLoad({ name: "down", rooms: 4, people: 4 });
  for (const room of load.rooms) await load.post(room, load.members.get(room)?.[0] ?? "");
  await faults.expectKept(load, 60_000);
  await standIn().stop();
  const downAtMs = performance.now();
  const traffic = load.startTraffic(30, faults.random);
  const [away] = load.subscribers;
  away?.pause();
  await sleep(4_000);
  await traffic.stop();
  away?.resume();
  // A new socket loads the pages.
  await load.subscribe(load.people[0] ?? "");
  expect(await waitForDelivery(load, 30_000)).toBe(true);
  expect(away?.rooms.map((room) => away.byRoom.get(room)?.loads)).toEqual(away?.rooms.map(() => 0));
  const during = await checkLoad(faults.environment, load, { isReal: true });
  expect(during).toMatchObject({ lost: 0, doubled: 0, reordered: 0, dead: 0, details: [] });
  const backAtMs = performance.now();
  await standIn().start();
  await faults.expectKept(load, 60_000);
  const posts = load.posts.filter(({ askedAtMs }) => askedAtMs >= downAtMs);
  expect(new Set(posts.map(({ firstStatus }) => firstStatus))).toEqual(new Set([202]));
  faults.report(
    "p95 of posting while the homeserver is down",
    percentile(
      posts.map(({ firstAnswerMs }) => firstAnswerMs ?? Infinity),
      0.95,
    ) ?? Infinity,
  );
  faults.report("until Matrix has all after the homeserver is back", faults.lastMs(load, "seen", backAtMs));
}, 120_000);

type Problem = { code: string; detail: string; since: string };

/** What a process says is wrong, by code. */
async function degraded(process: TierProcess): Promise<Map<string, Problem>> {
  const response = await fetch(`http://127.0.0.1:${String(process.port)}/readyz`);
  const body = (await response.json()) as { degraded: Problem[] };
  return new Map(body.degraded.map((problem) => [problem.code, problem]));
}

/** The log lines of a process since its last start that name a state of a homeserver. */
function stateLines({ lines, pid }: TierProcess): { state: string; msg: string; since?: string }[] {
  return lines
    .filter((line) => line.includes('"state":') && line.includes(`"pid":${String(pid)},`))
    .map((line) => JSON.parse(line) as { state: string; msg: string; since?: string });
}

test("a frozen homeserver is down within seconds though connects succeed and one room writes: every process that needs it says since when", async () => {
  const load = await faults.openLoad({ name: "frozen", rooms: 1, people: 2 });
  const [room = ""] = load.rooms;
  const [person = ""] = load.people;
  await load.post(room, person);
  await faults.expectKept(load, 60_000);
  const one = (tier: "workers" | "sync" | "api" | "realtime") =>
    faults.environment.of(tier)[0] as TierProcess;
  const [worker, sync, api] = [one("workers"), one("sync"), one("api")];
  const has = async (process: TierProcess) => (await degraded(process)).has("homeserver_down");
  const linesBefore = stateLines(worker).length;

  faults.environment.links.homeserver.freeze();
  const frozenAtMs = performance.now();
  const frozenAt = Date.now();
  await until(async () => (await worker.metric("omc_breakers_open")) === 1, "calls are refused", 30_000);
  faults.report("until the breaker of a frozen homeserver opens", performance.now() - frozenAtMs);
  expect(performance.now() - frozenAtMs).toBeLessThan(await faults.limitMs(8_000));
  expect(await worker.metric("omc_homeserver_up")).toBe(0);
  await until(async () => (await has(worker)) && (await has(sync)), "the workers say so", 30_000);
  expect([await has(api), await has(one("realtime"))]).toEqual([false, false]);
  await load.post(room, person);
  await until(() => has(api), "the API says so while a message waits", 30_000);
  for (const process of [worker, sync, api]) {
    const { detail, since } = (await degraded(process)).get("homeserver_down") as Problem;
    expect(detail).toContain("does not answer");
    expect(Math.abs(Date.parse(since) - frozenAt)).toBeLessThan(await faults.limitMs(5_000));
  }

  faults.environment.links.homeserver.heal();
  await faults.expectKept(load, 60_000);
  const areWell = async () =>
    (await Promise.all([worker, sync, api].map(degraded))).every(({ size }) => size === 0);
  await until(areWell, "nothing is degraded", 30_000);
  expect(
    stateLines(worker)
      .slice(linesBefore)
      .map(({ state }) => state),
  ).toEqual(["down", "up"]);
}, 120_000);

test("a token that the homeserver does not know is named at the start in one line, in /readyz and in the failures", async () => {
  const worker = faults.environment.of("workers")[0] as TierProcess;
  await worker.stop();
  await worker.start({ SYNAPSE_AS_TOKEN: "an-unknown-token" });
  const code = "homeserver_refuses_token";
  await until(async () => (await degraded(worker)).has(code), "it says so", 30_000);
  expect((await degraded(worker)).get(code)?.detail).toContain("SYNAPSE_AS_TOKEN");
  expect(stateLines(worker)).toMatchObject([
    { state: "refusing", since: expect.any(String), msg: expect.stringContaining("SYNAPSE_AS_TOKEN") },
  ]);
  expect(worker.lines.join("\n")).not.toContain("an-unknown-token");
  expect(await worker.metric("omc_matrix_failures_total", 'kind="auth"')).toBeGreaterThan(0);
  // The right token again: a later start in this file works.
  await worker.stop();
  await worker.start();
  await until(async () => (await degraded(worker)).size === 0, "it is well", 30_000);
}, 120_000);

test("a room's requested delay still holds after the homeserver was down", async () => {
  const load = await faults.openLoad({ name: "asked", rooms: 4, people: 4 });
  const [asked = "", ...others] = load.rooms;
  for (const room of load.rooms) await load.post(room, load.members.get(room)?.[0] ?? "");
  await faults.expectKept(load, 60_000);
  standIn().faults.add({
    path: SEND,
    body: /asked to wait/,
    count: 1,
    fault: { do: "limit", retryAfterMs: 12_000 },
  });
  const before = standIn().faults.done.get("limit") ?? 0;
  const limitedAtMs = performance.now();
  const limited = await load.post(asked, load.members.get(asked)?.[0] ?? "", "asked to wait");
  await until(() => standIn().faults.done.get("limit") === before + 1, "it is limited", 10_000);
  await standIn().stop();
  const [worker] = faults.environment.of("workers") as [TierProcess];
  for (const room of others) await load.post(room, load.members.get(room)?.[0] ?? "");
  await until(async () => (await worker.metric("omc_breakers_open")) === 1, "calls are held back", 20_000);
  await standIn().start();
  await faults.expectKept(load, 60_000);
  const waited = (id: string | null) =>
    (standIn().state.sends.find(({ transactionId }) => transactionId === id)?.atMs ?? 0) - limitedAtMs;
  expect(waited(limited.id)).toBeGreaterThan(11_900);
  for (const post of load.posts.slice(-others.length)) expect(waited(post.id)).toBeLessThan(11_900);
}, 120_000);

test("what an observer missed is read later: our messages keep their numbers, and others' get theirs then", async () => {
  const load = await faults.openLoad({ name: "unread", rooms: 2, people: 2 });
  const [room = ""] = load.rooms;
  const [person = ""] = load.people;
  await load.post(room, person);
  await faults.expectKept(load, 60_000);
  const [reader] = faults.environment.of("sync") as [TierProcess];
  await reader.stop();
  const matrixRoom = await matrixRoomId(room);
  const outsider = `@outsider:${standIn().state.serverName}`;
  const others = ["one", "two", "three"];
  for (const body of others) {
    await Promise.all(Array.from({ length: 116 }, () => load.post(room, person)));
    standIn().state.append(matrixRoom, {
      ...{ type: "m.room.message", sender: outsider },
      content: { msgtype: "m.text", body },
    });
  }
  expect(await waitForDelivery(load, 30_000)).toBe(true);
  const sent = async () =>
    (
      await faults.environment.sql<{ open: number }>(
        "select count(*) as open from messages where open and status = 'sent'",
      )
    )[0]?.open;
  await until(async () => (await sent()) === 348, "all are on Matrix", 20_000);
  const backAtMs = performance.now();
  await reader.start();
  await Promise.all(Array.from({ length: 20 }, () => load.post(room, person)));
  await faults.expectKept(load, 60_000);
  const texts = async () =>
    faults.environment.sql<{ text: string }>(
      `select e.content ->> 'text' as text from timeline e join rooms r on r.id = e.room_id
        where r.matrix_room_id = ? and e.sender_id is null order by e.number`,
      [matrixRoom],
    );
  await until(
    async () => (await texts()).length === others.length,
    "the others' messages have numbers",
    20_000,
  );
  expect((await texts()).map(({ text }) => text)).toEqual(others);
  expect(await reader.metric("omc_gaps_total")).toBeGreaterThan(0);
  faults.report("until 350 unread messages are seen", faults.lastMs(load, "seen", backAtMs));
}, 120_000);

test("a homeserver whose positions go backwards is read again, and no message is delivered twice", async () => {
  const load = await faults.openLoad({ name: "backwards", rooms: 3, people: 3 });
  const traffic = load.startTraffic(30, faults.random);
  await sleep(1_500);
  await standIn().stop();
  standIn().state.goBackwards(150);
  await standIn().start();
  await sleep(3_000);
  await traffic.stop();
  await faults.expectKept(load, 60_000);
}, 120_000);

test("messages that a restored homeserver lacks, seen ones too, are sent again once and in their old order", async () => {
  const load = await faults.openLoad({ name: "restored", rooms: 2, people: 2 });
  const [person = ""] = load.people;
  const sayAll = async (count: number) => {
    const from = load.posts.length;
    for (let said = 0; said < count; said++) for (const room of load.rooms) await load.post(room, person);
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
  await faults.expectKept(load, 60_000);
  faults.report("until the missing messages are on Matrix again", faults.lastMs(load, "seen", backAtMs));
  await sayAll(1);
  await faults.expectKept(load, 60_000, { accepted: 64 });
  expect(kept).toHaveLength(2);
  const [worker] = faults.environment.of("workers") as [TierProcess];
  expect(await worker.metric("omc_messages_forgotten_total")).toBe(seen.length + unseen.length);
}, 150_000);

async function matrixRoomId(room: string): Promise<string> {
  const [row] = await faults.environment.sql<{ matrix_room_id: string }>(
    "select matrix_room_id from rooms where kind || ':' || slug = ?",
    [room],
  );
  return row?.matrix_room_id ?? "";
}

test("a room with a thousand waiting messages does not delay quiet rooms", async () => {
  const load = await faults.openLoad({ name: "hot", rooms: 30, people: 3 });
  const [hot = "", ...quiet] = load.rooms;
  const speaker = load.members.get(hot)?.[0] ?? "";
  for (const room of load.rooms) await load.post(room, load.members.get(room)?.[0] ?? "");
  await faults.expectKept(load, 60_000);
  const calm = await measureCalm(load, quiet);
  const [worker] = faults.environment.of("workers") as [TierProcess];
  await worker.stop();
  for (let said = 0; said < 1_200; said += 50) {
    await Promise.all(Array.from({ length: 50 }, () => load.post(hot, speaker)));
  }
  standIn().faults.add({ path: SEND, fault: { do: "delay", ms: 5 } });
  await worker.start();
  const startMs = performance.now();
  const from = load.posts.length;
  const traffic = load.startTraffic(20, faults.random, quiet);
  await sleep(4_000);
  const [row] = await faults.environment.sql<{ open: number }>(
    "select count(*) as open from messages where open",
  );
  await traffic.stop();
  // The quiet rooms were measured while the other one still had much to send.
  expect(row?.open).toBeGreaterThan(100);
  await faults.expectKept(load, 60_000);
  const drainMs = faults.lastMs(load, "seen", startMs);
  expectUnaffected(
    waits({ ...load, posts: load.posts.slice(from) }, quiet),
    calm,
    drainMs / 2,
    "quiet rooms beside one with 1,200 waiting",
  );
}, 120_000);

test("a message that Matrix never answers ends as unanswered while others are sent, and its room goes on", async () => {
  const load = await faults.openLoad({ name: "unanswered", rooms: 2, people: 2 });
  const [stuck = "", other = ""] = load.rooms;
  const [person = ""] = load.people;
  await load.post(stuck, person);
  await load.post(other, person);
  await faults.expectKept(load, 60_000);
  standIn().faults.add({ path: SEND, body: /never answered/, fault: { do: "html", status: 502 } });
  const silent = await load.post(stuck, person, "never answered");
  await load.post(stuck, person);
  const failing = async () =>
    (
      await faults.environment.sql(
        `select 1 from room_outbox o join rooms r on r.id = o.room_id
          where r.kind || ':' || r.slug = ? and o.failing_since is not null`,
        [stuck],
      )
    ).length === 1;
  await until(failing, "its room fails", 20_000);
  // Instead of waiting for a quarter of an hour.
  await faults.environment.sql(
    `update room_outbox o set failing_since = now() - interval '16 minutes', next_attempt_at = now()
       from rooms r where r.id = o.room_id and r.kind || ':' || r.slug = ?`,
    [stuck],
  );
  const traffic = load.startTraffic(5, faults.random, [other]);
  await until(
    () => load.subscribers.every(({ failed }) => failed.includes(silent.id ?? "")),
    "it ends",
    30_000,
  );
  await traffic.stop();
  await faults.expectKept(load, 60_000, { dead: 1 });
  const [row] = await faults.environment.sql("select error_code from messages where id = ?", [silent.id]);
  expect(row).toEqual({ error_code: "unanswered" });
}, 120_000);
