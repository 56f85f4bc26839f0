import { runInFlight, waitFor } from "../wait.ts";
import { ROOMS, type Bench } from "./bench.ts";
import { startChild, type Usage } from "./children.ts";
import { readLedger, readNow } from "./fixture.ts";
import { openRawQueue } from "./raw-queue.ts";

export const IN_FLIGHT = 256;
export const LIMIT_MS = 120_000;

/** Per second, and statements and commands per message of ours. */
export type Round = {
  bullmq: number;
  insert: number;
  accept: number;
  endToEnd: number;
  drain: number;
  sqlPerMessage: number;
  redisPerMessage: number;
};

/** Measures BullMQ alone, an insert alone, our whole way out, and the drain of a backlog, one after the other. */
export async function runRound(bench: Bench): Promise<Round> {
  const bullmq = await measureBullmq(bench);
  const insert = await measureInsert(bench);
  return { bullmq, insert, ...(await measureOurs(bench)), drain: await measureDrain(bench) };
}

/** Jobs a second through BullMQ alone: 200 adds in flight, and a worker process whose handler does nothing. */
async function measureBullmq({ redis, databaseUrl, redisUrl, messages }: Bench): Promise<number> {
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
async function measureInsert({ db, messages }: Bench): Promise<number> {
  const content = JSON.stringify({ text: "x".repeat(200) });
  const seconds = await runInFlight(messages, 64, (index) =>
    db.raw("insert into bare (room, content) values (?, cast(? as jsonb))", [String(index % ROOMS), content]),
  );
  return messages / seconds;
}

/** From the first accepted message to the last one's mark as sent. */
async function measureOurs(bench: Bench): Promise<Omit<Round, "bullmq" | "insert" | "drain">> {
  const { db, fixture, messages } = bench;
  const worker = await startChild("ours", bench.databaseUrl, bench.redisUrl);
  const since = await readNow(db);
  const countAll = async (): Promise<Usage> => {
    const [own, childs] = [bench.usage(), await worker.usage()];
    return {
      statements: own.statements + childs.statements,
      commands: own.commands + childs.commands,
    };
  };
  const before = await countAll();
  const startedAtMs = performance.now();
  const acceptSeconds = await runInFlight(messages, IN_FLIGHT, (index) =>
    bench.accept(fixture.message(index)),
  );
  await waitFor(
    LIMIT_MS,
    "our messages",
    async () => (await readLedger(db, fixture.tenantId, since)).sent >= messages,
  );
  const seconds = (performance.now() - startedAtMs) / 1_000;
  const after = await countAll();
  await worker.stop();
  return {
    accept: messages / acceptSeconds,
    endToEnd: messages / seconds,
    sqlPerMessage: (after.statements - before.statements) / messages,
    redisPerMessage: (after.commands - before.commands) / messages,
  };
}

/** Messages a second that a worker sends of a backlog that waits when it starts. */
async function measureDrain({ db, accept, fixture, messages, ...urls }: Bench): Promise<number> {
  const since = await readNow(db);
  const countSent = async () => (await readLedger(db, fixture.tenantId, since)).sent;
  await runInFlight(messages, IN_FLIGHT, (index) => accept(fixture.message(index)));
  const worker = await startChild("ours", urls.databaseUrl, urls.redisUrl);
  const startedAtMs = performance.now();
  const before = await countSent();
  await waitFor(LIMIT_MS, "the backlog", async () => (await countSent()) >= messages);
  const seconds = (performance.now() - startedAtMs) / 1_000;
  await worker.stop();
  return (messages - before) / seconds;
}
