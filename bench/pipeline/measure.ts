import { runInFlight, waitFor } from "../wait.ts";
import { ROOMS, type Bench } from "./bench.ts";
import { startChild, type Usage } from "./children.ts";
import { countUnpublished, readLedger, readNow, readSentSince } from "./fixture.ts";
import { openRawQueue } from "./raw-queue.ts";

export const IN_FLIGHT = 256;
export const LIMIT_MS = 120_000;

/** Per second, and statements and commands per message of ours. */
export type Round = {
  bullmq: number;
  insert: number;
  /** Accepted with numbers and published, while nothing is sent. */
  accept: number;
  /** `accept` as a part of `insert`. */
  perInsert: number;
  /** Sent, from a ready backlog. */
  drain: number;
  /** Accepted while the workers send. */
  acceptBusy: number;
  /** Accepted and sent. */
  endToEnd: number;
  sqlPerMessage: number;
  redisPerMessage: number;
};

/** Measures BullMQ alone, an insert alone, and our way out: its halves one after the other, then both together. */
export async function runRound(bench: Bench): Promise<Round> {
  const bullmq = await measureBullmq(bench);
  const insert = await measureInsert(bench);
  const accept = await measureAccept(bench);
  const drain = await measureDrain(bench);
  return { bullmq, insert, accept, perInsert: accept / insert, drain, ...(await measureTogether(bench)) };
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

/** From the first message until the last one is accepted and its room's stream has it. Leaves a backlog. */
async function measureAccept({ db, redis, accept, fixture, messages }: Bench): Promise<number> {
  const startedAtMs = performance.now();
  await runInFlight(messages, IN_FLIGHT, (index) => accept(fixture.message(index)));
  await waitFor(LIMIT_MS, "streams", async () => (await countUnpublished(db, redis)) === 0, 5);
  return messages / ((performance.now() - startedAtMs) / 1_000);
}

/** From the first message of the backlog that is sent to the last. */
async function measureDrain(bench: Bench): Promise<number> {
  const { db, fixture, messages } = bench;
  const since = await readNow(db);
  const worker = await startChild("ours", bench.databaseUrl, bench.redisUrl);
  const readSent = () => readSentSince(db, fixture.tenantId, since);
  await waitFor(LIMIT_MS, "the backlog", async () => (await readSent()).sent >= messages, 100);
  const { seconds } = await readSent();
  await worker.stop();
  return messages / seconds;
}

/** From the first accepted message to the last one's mark as sent. */
async function measureTogether(
  bench: Bench,
): Promise<Pick<Round, "acceptBusy" | "endToEnd" | "sqlPerMessage" | "redisPerMessage">> {
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
    acceptBusy: messages / acceptSeconds,
    endToEnd: messages / seconds,
    sqlPerMessage: (after.statements - before.statements) / messages,
    redisPerMessage: (after.commands - before.commands) / messages,
  };
}
