import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { setTimeout as sleep } from "node:timers/promises";
import { openLink } from "./environment/proxy.ts";
import type { TierProcess } from "./environment/processes.ts";
import type { Load } from "./environment/load.ts";
import { killService } from "./environment/environment.ts";
import { percentile } from "../../bench/percentile.ts";
import { createLog } from "../../shared/platform/log.ts";
import { closeQueues, openQueues, type Queues } from "../../shared/queues/open.ts";
import { closeRedis, openRedis, waitForRedis } from "../../shared/platform/redis.ts";
import { startThrowAwayServers } from "../../stack/servers/throw-away.mjs";
import { useEnvironment } from "./environment/use-environment.ts";
import { until } from "../support/wait.ts";

const faults = useEnvironment({ counts: { realtime: 2 } });

/** Another Redis, which the environment does not use. */
let second: Awaited<ReturnType<typeof startThrowAwayServers>> | null = null;
beforeAll(async () => {
  second = await startThrowAwayServers({ only: ["redis"] });
  // One password, so that one can be the other's replica, and a client that reaches the other is let in.
  const { password } = new URL(faults.environment.servers.redisUrl);
  const log = createLog({ level: "silent", tier: "test" });
  const redis = openRedis(second.redisUrl, log, "second");
  await waitForRedis(redis, 5_000);
  await redis.config("SET", "requirepass", password);
  closeRedis(redis);
  await faults.environment.redis.config("SET", "masterauth", password);
}, 60_000);
afterAll(() => second?.stop());

const redisService = () => faults.environment.servers.services["redis"];

/** Expects that the first request of every post was answered 202, and soon. */
async function expectAccepted(load: Load, what: string, sinceMs: number, untilMs: number): Promise<void> {
  const posts = load.posts.filter(({ askedAtMs }) => askedAtMs >= sinceMs && askedAtMs < untilMs);
  expect(posts.length).toBeGreaterThan(20);
  expect(new Set(posts.map(({ firstStatus }) => firstStatus))).toEqual(new Set([202]));
  const p95 =
    percentile(
      posts.map(({ firstAnswerMs }) => firstAnswerMs ?? Infinity),
      0.95,
    ) ?? Infinity;
  faults.report(`p95 of posting ${what}`, p95);
  expect(p95).toBeLessThan(await faults.limitMs(400));
}

/** Runs `work` with the queues as an operator's tools see them. */
async function withQueues(work: (queues: Queues) => Promise<void>): Promise<void> {
  const log = createLog({ level: "silent", tier: "test" });
  const redis = openRedis(faults.environment.servers.redisUrl, log, "operator");
  await waitForRedis(redis, 5_000);
  const queues = openQueues(redis, log);
  try {
    await work(queues);
  } finally {
    await closeQueues(queues);
    closeRedis(redis);
  }
}

test("messages are accepted while Redis is dead, and delivered when it is back", async () => {
  const load = await faults.openLoad({ name: "dead", rooms: 6, people: 6 });
  const traffic = load.startTraffic(40, faults.random);
  await sleep(1_000);
  const deadAtMs = performance.now();
  await killService(redisService());
  await sleep(4_000);
  const backAtMs = performance.now();
  await redisService()?.start();
  await sleep(1_500);
  await traffic.stop();
  await faults.expectKept(load, 60_000);
  await expectAccepted(load, "while Redis is dead", deadAtMs, backAtMs);
  faults.report("until all is delivered after Redis is back", faults.lastMs(load, "seen", backAtMs));
}, 120_000);

test("messages are accepted while Redis hangs, and delivered when it goes on", async () => {
  const load = await faults.openLoad({ name: "frozen", rooms: 6, people: 6 });
  const traffic = load.startTraffic(40, faults.random);
  await sleep(1_000);
  const pid = redisService()?.pid ?? 0;
  const frozenAtMs = performance.now();
  process.kill(pid, "SIGSTOP");
  await sleep(9_000);
  const backAtMs = performance.now();
  process.kill(pid, "SIGCONT");
  await sleep(1_500);
  await traffic.stop();
  await faults.expectKept(load, 60_000);
  await expectAccepted(load, "while Redis hangs", frozenAtMs, backAtMs);
  faults.report("until all is delivered after Redis goes on", faults.lastMs(load, "seen", backAtMs));
}, 120_000);

test("no message is lost when Redis is emptied during a conversation", async () => {
  const load = await faults.openLoad({ name: "flushed", rooms: 6, people: 6 });
  const traffic = load.startTraffic(60, faults.random);
  for (let flush = 0; flush < 3; flush++) {
    await sleep(1_200);
    await faults.environment.redis.flushall();
  }
  const flushedAtMs = performance.now();
  await sleep(1_500);
  await traffic.stop();
  await faults.expectKept(load, 60_000);
  faults.report("longest wait after a flush", faults.longestMs(load, "seen", flushedAtMs));
}, 120_000);

test("after Redis came back empty, a socket has the whole of a silent room, connected before or not", async () => {
  const load = await faults.openLoad({ name: "quiet", rooms: 2, people: 2, subscribers: 2 });
  const [room = "", person = ""] = [load.rooms[0], load.people[0]];
  for (let said = 0; said < 5; said++) await load.post(room, person);
  await faults.expectKept(load, 60_000);
  const [away] = load.subscribers;
  away?.pause();
  for (let said = 0; said < 5; said++) await load.post(room, person);
  await until(
    () =>
      load.subscribers
        .slice(1)
        .every((subscriber) => (subscriber.byRoom.get(room)?.received.length ?? 0) === 10),
    "the others received all messages",
    15_000,
  );
  const { links, redis } = faults.environment;
  const redisLinks = [links.apiRedis, links.workersRedis, links.syncRedis, links.realtimeRedis];
  await killService(redisService());
  for (const link of redisLinks) link.cut();
  // Posted while Redis is down: the last message of this room.
  await load.post(room, person);
  await redisService()?.start();
  await waitForRedis(redis, 10_000);
  await redis.flushall();
  const backAtMs = performance.now();
  for (const link of redisLinks) link.heal();
  away?.resume();
  await faults.expectKept(load, 60_000);
  faults.report(
    "until a quiet room is complete after Redis came back empty",
    faults.lastMs(load, "seen", backAtMs),
  );
}, 120_000);

test("connections to Redis that stay open and receive nothing are replaced", async () => {
  const load = await faults.openLoad({ name: "silent", rooms: 4, people: 4 });
  const { links } = faults.environment;
  const traffic = load.startTraffic(20, faults.random);
  await sleep(1_500);
  const sinceMs = performance.now();
  for (const link of [links.apiRedis, links.workersRedis, links.syncRedis, links.realtimeRedis])
    link.abandon();
  await sleep(3_000);
  const untilMs = performance.now();
  await traffic.stop();
  await faults.expectKept(load, 60_000);
  await expectAccepted(load, "while connections to Redis are dead unseen", sinceMs, untilMs);
  faults.report(
    "until all is delivered after connections to Redis died unseen",
    faults.lastMs(load, "seen", sinceMs),
  );
}, 150_000);

test("an API, workers and sockets that start while Redis is dead work as soon as it starts", async () => {
  const load = await faults.openLoad({ name: "early", rooms: 3, people: 3 });
  await killService(redisService());
  const started = [
    ...faults.environment.of("api"),
    ...faults.environment.of("workers"),
    ...faults.environment.of("sync"),
  ];
  for (const process of started) await process.stop();
  for (const process of started) await process.start();
  const sinceMs = performance.now();
  const traffic = load.startTraffic(20, faults.random);
  await sleep(2_500);
  const backAtMs = performance.now();
  await redisService()?.start();
  await sleep(1_000);
  await traffic.stop();
  await faults.expectKept(load, 60_000);
  await expectAccepted(load, "to an API that started without Redis", sinceMs, backAtMs);
}, 120_000);

test("a wake-up whose job is missing does not block its room", async () => {
  const load = await faults.openLoad({ name: "stray", rooms: 2, people: 2 });
  const [lost = "", ghost = ""] = load.rooms;
  const [person = ""] = load.people;
  const rows = await faults.environment.sql<{ id: string; tenant_id: string; slug: string }>(
    "select id, tenant_id, slug from rooms where slug like 'stray-%' order by slug",
  );
  const { redis } = faults.environment;
  const base = "{omc-queue}:outbound-message";
  const [toMissing, toGhost] = rows.map((row) => `${base}:de:${row.tenant_id}.${row.id}`);
  await redis.set(toMissing ?? "", "900001");
  // A job that exists and is in no list: no worker will run it.
  await redis.hset(`${base}:900002`, {
    name: "outbound-message",
    data: "{}",
    opts: "{}",
    timestamp: String(Date.now()),
    attemptsMade: "0",
    delay: "0",
    priority: "0",
  });
  await redis.set(toGhost ?? "", "900002");
  const sinceMs = performance.now();
  await load.post(lost, person);
  await load.post(ghost, person);
  await faults.expectKept(load, 60_000);
  faults.report("delivery past a stray deduplication key", faults.longestMs(load, "seen", sinceMs));
}, 120_000);

test("no message is lost when an operator removes, cleans and destroys the queues during a conversation", async () => {
  const load = await faults.openLoad({ name: "operator", rooms: 6, people: 6 });
  faults.environment.standIn.faults.add({ path: /\/send\//, fault: { do: "delay", ms: 20 } });
  const traffic = load.startTraffic(60, faults.random);
  await withQueues(async (queues) => {
    const queue = queues["outbound-message"];
    await sleep(1_000);
    const waiting = await queue.getJobs(["waiting", "delayed"]);
    await Promise.allSettled(waiting.map((job) => job.remove()));
    await queue.clean(0, 1_000, "wait");
    await sleep(500);
    await queue.obliterate({ force: true });
    await sleep(1_500);
    await queue.obliterate({ force: true });
    await queues.maintenance.obliterate({ force: true });
  });
  const sinceMs = performance.now();
  await sleep(500);
  // While a queue is being destroyed, it is a paused queue.
  await withQueues((queues) => queues["outbound-message"].resume());
  await traffic.stop();
  await faults.expectKept(load, 60_000);
  faults.report("until all is delivered after the queue was destroyed", faults.lastMs(load, "seen", sinceMs));
}, 120_000);

type Refusal = { what: string; code: string; name: string; begin: () => string[]; end: string[] };

/** Ways in which Redis answers and refuses writes, and how each begins and ends. */
const REFUSALS: readonly Refusal[] = [
  {
    what: "is a replica without its primary",
    code: "redis_read_only",
    name: "orphan",
    begin: () => ["replicaof", "127.0.0.1", "1"],
    end: ["replicaof", "no", "one"],
  },
  {
    what: "is a replica of an empty primary",
    code: "redis_read_only",
    name: "replica",
    begin: () => ["replicaof", "127.0.0.1", new URL(second?.redisUrl ?? "").port],
    end: ["replicaof", "no", "one"],
  },
  {
    what: "has too few replicas",
    code: "redis_read_only",
    name: "few",
    begin: () => ["config", "set", "min-replicas-to-write", "1"],
    end: ["config", "set", "min-replicas-to-write", "0"],
  },
  {
    what: "is full",
    code: "redis_full",
    name: "full",
    begin: () => ["config", "set", "maxmemory", "1"],
    end: ["config", "set", "maxmemory", "0"],
  },
];
/** A longer time gives the same figures: what is due is sent meanwhile. */
const REFUSED_MS = Number(process.env["TEST_FAULTS_REFUSED_MS"] ?? 4_000);

/** Runs `work` while Redis refuses writes. Returns when that began and ended. */
async function whileRefused(
  { begin, end }: Pick<Refusal, "begin" | "end">,
  work: () => Promise<void>,
): Promise<{ sinceMs: number; backAtMs: number }> {
  const tell = ([command = "", ...args]: string[]) => faults.environment.redis.call(command, ...args);
  const sinceMs = performance.now();
  await tell(begin());
  try {
    await work();
  } finally {
    await tell(end);
  }
  return { sinceMs, backAtMs: performance.now() };
}

/** The codes of what a process says is wrong. */
async function degradedCodes({ port }: TierProcess): Promise<string[]> {
  const response = await fetch(`http://127.0.0.1:${String(port)}/readyz`);
  const { degraded } = (await response.json()) as { degraded: { code: string; since: string }[] };
  for (const { since } of degraded) expect(Date.parse(since)).not.toBeNaN();
  return degraded.map(({ code }) => code);
}

test.each(REFUSALS)(
  "while Redis $what, messages are accepted and sent, every process says so, and all is delivered soon after",
  async (refusal) => {
    const { what, code, name } = refusal;
    const load = await faults.openLoad({ name, rooms: 4, people: 4 });
    const { processes } = faults.environment;
    const traffic = load.startTraffic(20, faults.random);
    await sleep(1_000);
    const { sinceMs, backAtMs } = await whileRefused(refusal, async () => {
      const areDegraded = async () =>
        (await Promise.all(processes.map(degradedCodes))).every((codes) => codes.includes(code));
      await until(areDegraded, "every process is degraded", 20_000);
      const before = faults.environment.standIn.state.sends.length;
      await sleep(REFUSED_MS);
      const isSent = () => faults.environment.standIn.state.sends.length > before;
      await until(isSent, "messages are sent without queues", 20_000);
    });
    await sleep(1_000);
    await traffic.stop();
    await faults.expectKept(load, 60_000);
    await expectAccepted(load, `while Redis ${what}`, sinceMs, backAtMs);
    const recoveryMs = faults.lastMs(load, "delivered", backAtMs);
    faults.report(`until all is delivered after Redis ${what}`, recoveryMs);
    faults.report(`until Matrix has all after Redis ${what}`, faults.lastMs(load, "seen", backAtMs));
    expect(recoveryMs).toBeLessThan(await faults.limitMs(10_000));
    const areWell = async () =>
      (await Promise.all(processes.map(degradedCodes))).every((codes) => codes.length === 0);
    await until(areWell, "no process is degraded", 20_000);
  },
  120_000,
);

test("a connection that stays open to a former primary is replaced, and its name leads to the new one", async () => {
  const portOf = (url: string) => Number(new URL(url).port);
  const [former, primary] = [faults.environment.servers.redisUrl, second?.redisUrl ?? ""].map(portOf);
  let target = former ?? 0;
  const link = await openLink(() => [target]);
  const log = createLog({ level: "silent", tier: "test" });
  const url = new URL(faults.environment.servers.redisUrl);
  url.port = String(link.port);
  const redis = openRedis(url.href, log, "failover");
  await waitForRedis(redis, 5_000);
  const write = () =>
    redis.set("failover", "1").then(
      () => true,
      () => false,
    );
  expect(await write()).toBe(true);
  const toReplica = {
    begin: () => ["replicaof", "127.0.0.1", String(primary)],
    end: ["replicaof", "no", "one"],
  };
  await whileRefused(toReplica, async () => {
    target = primary ?? 0;
    await until(write, "writes reach the new primary", 20_000);
  });
  closeRedis(redis);
  await link.close();
}, 60_000);
