import { readFileSync } from "node:fs";
import { openCountingSockets } from "./capacity/counting-sockets.ts";
import { openSizeReader, type ServerSizes, type SizeReader } from "./capacity/server-sizes.ts";
import { measureStreams, type StreamMemory } from "./capacity/stream-memory.ts";
import { runBench, type Options } from "./options.ts";
import { percentile } from "./percentile.ts";
import { createRest, type Rest } from "./rest.ts";
import { readDemoStack, readStackEnv, SYNAPSE_DATA, type DemoStack } from "./stack.ts";
import { pause, waitFor } from "./wait.ts";

/**
 * `npm run bench:capacity [-- --messages N --sockets N --json]`, on the running stack: the bytes of a message in each
 * server, the bytes of the streams in Redis, the bytes of an open socket in the realtime process, and the time until every
 * socket of a big room has received a message. Other use of the stack changes the figures.
 */
const ROOMS = 20;
const TEXT = "x".repeat(100);
/** So many that none has more sockets than one user may have. */
const PEOPLE = 500;
const FANOUT_MESSAGES = 30;
const LIMIT_MS = 300_000;
/** The realtime process returns the memory that connecting needs. */
const SETTLE_MS = 5_000;

const NUMBERS = {
  messages: { otherwise: 3_000, from: 100, to: 100_000 },
  sockets: { otherwise: 5_000, from: 1, to: 20_000 },
};

type Fanout = { p50FirstMs: number; p50LastMs: number; p99LastMs: number };
type Outcome = {
  perMessage: ServerSizes;
  streams: StreamMemory;
  perSocket: number;
  perSocketAtRest: number;
  fanout: Fanout;
};

async function main(options: Options<typeof NUMBERS>): Promise<number> {
  const stack = readDemoStack();
  const env = readStackEnv(["DATABASE_URL", "REDIS_URL"]);
  const sizes = openSizeReader({ databaseUrl: env.DATABASE_URL, redisUrl: env.REDIS_URL });
  try {
    const perMessage = await measureMessages(stack, sizes, options.messages);
    const streams = await measureStreams({ databaseUrl: env.DATABASE_URL, redisUrl: env.REDIS_URL }, TEXT);
    const outcome = { perMessage, streams, ...(await measureSockets(stack, options.sockets)) };
    print(outcome, options);
    return 0;
  } finally {
    await sizes.close();
  }
}

/** Bytes that each server grows by for a delivered message of 100 characters in an existing room. */
async function measureMessages(stack: DemoStack, sizes: SizeReader, messages: number): Promise<ServerSizes> {
  const run = `size-${Date.now().toString(36)}`;
  const backend = createRest(stack.apiUrl, stack.serverKey);
  const slugs = Array.from({ length: ROOMS }, (_, index) => `${run}-${String(index)}`);
  const members = [{ user: run, role: "member" }];
  for (const slug of slugs) await backend.putRoom(`/v1/rooms/group/${slug}`, { name: "Size", members });
  const rest = createRest(stack.apiUrl, await backend.token(run));
  const postAll = async (count: number, name: string) => {
    for (let index = 0; index < count; index += ROOMS) {
      await Promise.all(
        slugs.map((slug) => rest.post(`group:${slug}`, TEXT, `${name}-${String(index)}-${slug}`)),
      );
    }
    await waitForDelivery(backend, slugs);
  };
  await postAll(ROOMS, "first");
  const before = await sizes.read();
  await postAll(messages, "more");
  const after = await sizes.read();
  const each = (a: number, b: number) => Math.round((b - a) / (Math.ceil(messages / ROOMS) * ROOMS));
  return {
    ours: each(before.ours, after.ours),
    synapse: before.synapse === null || after.synapse === null ? null : each(before.synapse, after.synapse),
    redis: each(before.redis, after.redis),
  };
}

/** Waits until no room's timeline has grown for three seconds. */
async function waitForDelivery(backend: Rest, slugs: readonly string[]): Promise<void> {
  const read = async () =>
    (await Promise.all(slugs.map((slug) => backend.room(`/v1/rooms/group/${slug}`)))).map(
      ({ offset }) => offset,
    );
  let before = await read();
  const endMs = performance.now() + LIMIT_MS;
  for (let unchanged = 0; unchanged < 3;) {
    if (performance.now() > endMs) throw new Error("the messages were not delivered in time");
    await pause(1_000);
    const now = await read();
    unchanged = now.every((offset, index) => offset === before[index]) ? unchanged + 1 : 0;
    before = now;
  }
}

async function measureSockets(
  stack: DemoStack,
  sockets: number,
): Promise<Omit<Outcome, "perMessage" | "streams">> {
  const run = `fanout-${Date.now().toString(36)}`;
  const backend = createRest(stack.apiUrl, stack.serverKey);
  const people = Array.from({ length: PEOPLE }, (_, index) => `${run}-${String(index)}`);
  const members = people.map((user) => ({ user, role: "member" }));
  await backend.putRoom(`/v1/rooms/group/${run}`, { name: "Fan-out", members });
  const tokens = await Promise.all(people.map((user) => backend.token(user)));
  const sender = createRest(stack.apiUrl, tokens[0] ?? "");
  const before = residentBytes(stack);
  const receivers = await openCountingSockets(stack.socketUrl, tokens, sockets);
  try {
    const opened = residentBytes(stack);
    await pause(SETTLE_MS);
    const rested = residentBytes(stack);
    const post = async (text: string) => {
      const askedAtMs = performance.now();
      await sender.post(`group:${run}`, text, text);
      await waitFor(
        LIMIT_MS,
        "delivery to every socket",
        () => receivers.arrivals(text).sockets === sockets,
        1,
      );
      const { firstAtMs, lastAtMs } = receivers.arrivals(text);
      return { firstMs: firstAtMs - askedAtMs, lastMs: lastAtMs - askedAtMs };
    };
    // The account, the room and the join are made for the first one.
    await post("before");
    const times = [];
    for (let index = 0; index < FANOUT_MESSAGES; index++) times.push(await post(`word-${String(index)}`));
    const lasts = times.map(({ lastMs }) => lastMs);
    const firsts = times.map(({ firstMs }) => firstMs);
    return {
      perSocket: Math.round((opened - before) / sockets),
      perSocketAtRest: Math.round((rested - before) / sockets),
      fanout: {
        p50FirstMs: percentile(firsts, 0.5) ?? 0,
        p50LastMs: percentile(lasts, 0.5) ?? 0,
        p99LastMs: percentile(lasts, 0.99) ?? 0,
      },
    };
  } finally {
    await receivers.close();
  }
}

/** Resident memory of the realtime process. */
function residentBytes({ pids }: DemoStack): number {
  const status = readFileSync(`/proc/${String(pids["realtime"])}/status`, "utf8");
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * 1_024;
}

function print(outcome: Outcome, { json, ...asked }: Options<typeof NUMBERS>): void {
  if (json) {
    process.stdout.write(`${JSON.stringify({ ...asked, ...outcome })}\n`);
    return;
  }
  const { perMessage, streams, perSocket, perSocketAtRest, fanout } = outcome;
  const lines = [
    `${String(asked.messages)} messages of ${String(TEXT.length)} characters in ${String(ROOMS)} rooms; ${SYNAPSE_DATA}`,
    "bytes a message",
    `  our Postgres        ${String(perMessage.ours).padStart(8)}`,
    `  Synapse's Postgres  ${(perMessage.synapse === null ? "–" : String(perMessage.synapse)).padStart(8)}`,
    `  Redis               ${String(perMessage.redis).padStart(8)}`,
    "bytes of streams in Redis",
    `  1,000 quiet rooms   ${String(streams.quietRooms).padStart(8)}   (300 messages each)`,
    `  one busy room       ${String(streams.busyRoom).padStart(8)}   (5,000 messages)`,
    `${String(asked.sockets)} sockets of ${String(PEOPLE)} people in one room, one realtime process`,
    `  bytes a socket      ${String(perSocket).padStart(8)}   ${String(SETTLE_MS / 1_000)} s later ${String(perSocketAtRest)}`,
    "  a message, from posting, until",
    `    the first has it  ${fanout.p50FirstMs.toFixed(0).padStart(8)} ms p50`,
    `    all have it       ${fanout.p50LastMs.toFixed(0).padStart(8)} ms p50 ${fanout.p99LastMs.toFixed(0).padStart(6)} ms p99`,
  ];
  process.stdout.write(`${lines.join("\n")}\n`);
}

await runBench(NUMBERS, main);
