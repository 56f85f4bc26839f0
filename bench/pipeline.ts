import type { Accept } from "../api/accept/accept-batcher.ts";
import { createAccept } from "../api/accept/accept.ts";
import { createAfterCommit } from "../api/after-commit/after-commit.ts";
import { createApiMetrics } from "../api/metrics.ts";
import { migrateUp } from "../migrations/index.ts";
import { openDb, rowsOf, type Db } from "../shared/db/connection/open.ts";
import { createLog } from "../shared/platform/log.ts";
import { createMetrics } from "../shared/platform/metrics.ts";
import { closeQueues, createWake, openQueues } from "../shared/queues/open.ts";
import { closeRedis, openRedis, waitForRedis, type Redis } from "../shared/platform/redis.ts";
import { startChild, type Asked, type Child } from "./pipeline/children.ts";
import { countRedisCommands } from "./pipeline/count-commands.ts";
import { createFixture, readLedger, type Fixture } from "./pipeline/fixture.ts";
import { runInFlight, waitFor } from "./pipeline/in-flight.ts";
import { openRawQueue } from "./pipeline/raw-queue.ts";
import { runBench, type Options } from "./options.ts";
import { percentile } from "./percentile.ts";

/**
 * `npm run bench:pipeline [-- --messages N --rounds N --rate N --seconds N --json]`: the way out, with a homeserver that
 * does nothing, beside BullMQ alone and an insert alone; in turn, on the running stack's Postgres and Redis (a database
 * and a Redis database of its own), so with the same durability.
 */
const ROOMS = 200;
const IN_FLIGHT = 256;
/** Of the open loop, not counted: a process that was just started plans its statements and compiles its code. */
const WARM_UP_S = 6;
const LIMIT_MS = 120_000;
const REDIS_DATABASE = 9;

const NUMBERS = {
  messages: { otherwise: 20_000, from: 1, to: 1_000_000 },
  rounds: { otherwise: 3, from: 1, to: 100 },
  rate: { otherwise: 300, from: 1, to: 10_000 },
  seconds: { otherwise: 20, from: 1, to: 3_600 },
};

type Arms = {
  db: Db;
  redis: Redis;
  accept: Accept;
  fixture: Fixture;
  databaseUrl: string;
  redisUrl: string;
  messages: number;
  /** What this process has asked of the servers. */
  counts: () => Asked;
};

type Round = {
  bullmq: number;
  insert: number;
  accept: number;
  endToEnd: number;
  sqlPerMessage: number;
  redisPerMessage: number;
};

async function main(options: Options<typeof NUMBERS>): Promise<number> {
  const [databaseUrl, redisUrl] = [process.env["DATABASE_URL"], process.env["REDIS_URL"]];
  if (databaseUrl === undefined || redisUrl === undefined) {
    process.stderr.write("no stack is running: npm run up\n");
    return 2;
  }
  const name = `bench_${Date.now().toString(36)}`;
  const stack = openDb({ url: databaseUrl, name: "bench", max: 2 });
  await stack.raw(`create database ${name}`);
  const places = {
    databaseUrl: databaseUrl.replace(/\/[^/?]+(\?|$)/, `/${name}$1`),
    redisUrl: `${redisUrl.replace(/\/\d+$/, "")}/${String(REDIS_DATABASE)}`,
  };
  try {
    await withArms({ ...places, messages: options.messages }, async (arms) => {
      const rounds: Round[] = [];
      for (let round = 0; round < options.rounds; round++) rounds.push(await runRound(arms));
      print(options, rounds, await runOpenLoop(arms, options));
    });
  } finally {
    await stack.raw(`drop database if exists ${name} with (force)`);
    await stack.destroy();
  }
  return 0;
}

async function withArms(
  { databaseUrl, redisUrl, messages }: Pick<Arms, "databaseUrl" | "redisUrl" | "messages">,
  work: (arms: Arms) => Promise<void>,
): Promise<void> {
  const commands = countRedisCommands();
  const log = createLog({ level: "warn", tier: "bench" });
  const db = openDb({ url: databaseUrl, name: "bench-api", max: 16 });
  await migrateUp(db);
  await db.raw(
    "create table bare (id bigserial primary key, room text not null, content jsonb not null, at timestamptz not null default now())",
  );
  let statements = 0;
  db.on("query", () => {
    statements++;
  });
  const redis = openRedis(redisUrl, log, "bench-api");
  await waitForRedis(redis, 5_000);
  await redis.flushdb();
  const queues = openQueues(redis, log);
  const metrics = createApiMetrics(createMetrics());
  const wake = createWake(queues, metrics.wakeFailures);
  const afterCommit = createAfterCommit({ db, redis, wake, log, metrics });
  const accept = createAccept({ db, afterCommit, now: Date.now }, () => undefined);
  try {
    await work({
      db,
      redis,
      accept,
      fixture: await createFixture(db, ROOMS),
      databaseUrl,
      redisUrl,
      messages,
      counts: () => ({ statements, commands: commands() }),
    });
  } finally {
    await afterCommit.drain();
    await redis.flushdb();
    await closeQueues(queues);
    closeRedis(redis);
    await db.destroy();
  }
}

async function runRound(arms: Arms): Promise<Round> {
  const bullmq = await measureBullmq(arms);
  const insert = await measureInsert(arms);
  return { bullmq, insert, ...(await measureOurs(arms)) };
}

/** Jobs a second through BullMQ alone: added by 200 in flight, done by a worker process that does nothing. */
async function measureBullmq({ redis, databaseUrl, redisUrl, messages }: Arms): Promise<number> {
  const queue = openRawQueue(redis);
  const child = await startChild("raw", databaseUrl, redisUrl);
  const startedAtMs = performance.now();
  await runInFlight(messages, 200, (index) => queue.add({ room: index % ROOMS, text: "x".repeat(200) }));
  await waitFor(LIMIT_MS, "raw jobs", async () => (await queue.completed()) >= messages);
  const seconds = (performance.now() - startedAtMs) / 1_000;
  await child.stop();
  await queue.clear();
  await queue.close();
  return messages / seconds;
}

/** Rows a second, one insert a row, 16 connections. */
async function measureInsert({ db, messages }: Arms): Promise<number> {
  const content = JSON.stringify({ text: "x".repeat(200) });
  const seconds = await runInFlight(messages, 64, (index) =>
    db.raw("insert into bare (room, content) values (?, cast(? as jsonb))", [String(index % ROOMS), content]),
  );
  return messages / seconds;
}

async function measureOurs(arms: Arms): Promise<Omit<Round, "bullmq" | "insert">> {
  const { db, fixture, messages } = arms;
  const child = await startChild("ours", arms.databaseUrl, arms.redisUrl);
  const since = await readNow(db);
  const countAll = async (): Promise<Asked> => {
    const [own, childs] = [arms.counts(), await child.counts()];
    return {
      statements: own.statements + childs.statements,
      commands: own.commands + childs.commands,
    };
  };
  const before = await countAll();
  const startedAtMs = performance.now();
  const acceptSeconds = await runInFlight(messages, IN_FLIGHT, (index) =>
    arms.accept(fixture.message(index)),
  );
  await waitFor(
    LIMIT_MS,
    "our messages",
    async () => (await readLedger(db, fixture.tenantId, since)).sent >= messages,
  );
  const seconds = (performance.now() - startedAtMs) / 1_000;
  const after = await countAll();
  await child.stop();
  return {
    accept: messages / acceptSeconds,
    endToEnd: messages / seconds,
    sqlPerMessage: (after.statements - before.statements) / messages,
    redisPerMessage: (after.commands - before.commands) / messages,
  };
}

type OpenLoop = { rate: number; seconds: number; p50: number; p99: number; messages: number };

/** At a steady rate: milliseconds from the moment a message was due to its mark as sent. */
async function runOpenLoop(
  arms: Arms,
  { rate, seconds }: { rate: number; seconds: number },
): Promise<OpenLoop> {
  const { db, fixture } = arms;
  const child: Child = await startChild("ours", arms.databaseUrl, arms.redisUrl);
  await postAtRate(arms, rate, WARM_UP_S);
  const since = await readNow(db);
  const total = await postAtRate(arms, rate, seconds);
  await waitFor(
    LIMIT_MS,
    "open loop",
    async () => (await readLedger(db, fixture.tenantId, since)).sent >= total,
  );
  await child.stop();
  const rows = await rowsOf<{ ms: number }>(
    db,
    `select (extract(epoch from sent_at - accepted_at) * 1000)::float8 as ms from messages where tenant_id = ? and accepted_at >= ?`,
    [fixture.tenantId, since],
  );
  const times = rows.map((row) => row.ms);
  return {
    rate,
    seconds,
    p50: percentile(times, 0.5) ?? 0,
    p99: percentile(times, 0.99) ?? 0,
    messages: total,
  };
}

/** Posts at a steady rate, whether or not the answers come; resolves with their count when all were accepted. */
async function postAtRate({ accept, fixture }: Arms, rate: number, seconds: number): Promise<number> {
  const total = rate * seconds;
  const startedAtMs = performance.now();
  const posts: Promise<unknown>[] = [];
  for (let index = 0; index < total; index++) {
    const dueAtMs = startedAtMs + (index * 1_000) / rate;
    const waitMs = dueAtMs - performance.now();
    if (waitMs > 1) await new Promise((resolve) => setTimeout(resolve, waitMs));
    posts.push(accept(fixture.message(index)));
  }
  await Promise.all(posts);
  return total;
}

async function readNow(db: Db): Promise<Date> {
  const rows = await rowsOf<{ now: Date }>(db, "select now()", []);
  return rows[0]?.now ?? new Date();
}

function print({ messages, json }: Options<typeof NUMBERS>, rounds: readonly Round[], open: OpenLoop): void {
  if (json) {
    process.stdout.write(`${JSON.stringify({ messages, rounds, open })}\n`);
    return;
  }
  const names = ["bullmq", "insert", "accept", "endToEnd", "sqlPerMessage", "redisPerMessage"] as const;
  process.stdout.write(
    `${String(messages)} messages a round, ${String(ROOMS)} rooms, ${String(IN_FLIGHT)} in flight\n`,
  );
  process.stdout.write("                    median       min       max\n");
  for (const name of names) {
    const column = rounds.map((round) => round[name]).sort((a, b) => a - b);
    const digits = name.endsWith("PerMessage") ? 2 : 0;
    const cells = [percentile(column, 0.5), column[0], column.at(-1)].map((value) =>
      (value ?? 0).toFixed(digits).padStart(10),
    );
    process.stdout.write(`${name.padEnd(16)}${cells.join("")}\n`);
  }
  process.stdout.write(
    `open loop at ${String(open.rate)}/s for ${String(open.seconds)} s: accepted to sent p50=${open.p50.toFixed(1)} ms p99=${open.p99.toFixed(1)} ms\n`,
  );
}

await runBench(NUMBERS, main);
