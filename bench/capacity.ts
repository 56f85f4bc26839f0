import { readFileSync } from "node:fs";
import { openAudience } from "./capacity/audience.ts";
import { openScales, type Scales, type Sizes } from "./capacity/sizes.ts";
import { runBench, type Options } from "./options.ts";
import { percentile } from "./percentile.ts";
import { createRest, type Rest } from "./scenario/rest.ts";
import { readDemoStack, SYNAPSE_DATA, type DemoStack } from "./scenario/stack.ts";

/**
 * `npm run bench:capacity [-- --messages N --sockets N --json]`: on the running stack, what a message takes up in each
 * server, what an open socket takes in the realtime process, and how long one message needs until every socket of a big
 * room has it. The figures are of this stack as it is: nothing else should use it meanwhile.
 */
const ROOMS = 20;
const TEXT = "x".repeat(100);
const PEOPLE = 200;
const TOLD = 30;
const LIMIT_MS = 300_000;
/** Let go of what was needed only for a moment. */
const SETTLE_MS = 5_000;

const NUMBERS = {
  messages: { otherwise: 3_000, from: 100, to: 100_000 },
  sockets: { otherwise: 5_000, from: 1, to: 20_000 },
};

type Fanout = { p50FirstMs: number; p50LastMs: number; p99LastMs: number };
type Outcome = { perMessage: Sizes; perSocket: number; perSocketAtRest: number; fanout: Fanout };

async function main(options: Options<typeof NUMBERS>): Promise<number> {
  const stack = readDemoStack();
  const [databaseUrl, redisUrl] = [process.env["DATABASE_URL"], process.env["REDIS_URL"]];
  if (!stack || databaseUrl === undefined || redisUrl === undefined) {
    process.stderr.write("no stack is running: npm run up\n");
    return 2;
  }
  const scales = openScales({ databaseUrl, redisUrl });
  try {
    const perMessage = await weighMessages(stack, scales, options.messages);
    const outcome = { perMessage, ...(await measureSockets(stack, options.sockets)) };
    print(outcome, options);
    return 0;
  } finally {
    await scales.close();
  }
}

/** What each server grew by, for each message of 100 characters in rooms that exist, told and settled. */
async function weighMessages(stack: DemoStack, scales: Scales, messages: number): Promise<Sizes> {
  const run = `size-${Date.now().toString(36)}`;
  const backend = createRest(stack.apiUrl, stack.serverKey);
  const slugs = Array.from({ length: ROOMS }, (_, index) => `${run}-${String(index)}`);
  const members = [{ user: run, role: "member" }];
  for (const slug of slugs) await backend.putRoom(`/v1/rooms/group/${slug}`, { name: "Size", members });
  const rest = createRest(stack.apiUrl, await backend.token(run));
  const say = async (count: number, name: string) => {
    for (let index = 0; index < count; index += ROOMS) {
      await Promise.all(
        slugs.map((slug) => rest.post(`group:${slug}`, TEXT, `${name}-${String(index)}-${slug}`)),
      );
    }
    await untilTold(backend, slugs);
  };
  await say(ROOMS, "first");
  const before = await scales.weigh();
  await say(messages, "more");
  const after = await scales.weigh();
  const each = (a: number, b: number) => Math.round((b - a) / (Math.ceil(messages / ROOMS) * ROOMS));
  return {
    ours: each(before.ours, after.ours),
    synapse: before.synapse === null || after.synapse === null ? null : each(before.synapse, after.synapse),
    redis: each(before.redis, after.redis),
  };
}

/** Every room's timeline has stood still, with nothing pending in it. */
async function untilTold(backend: Rest, slugs: readonly string[]): Promise<void> {
  const read = async () =>
    (await Promise.all(slugs.map((slug) => backend.room(`/v1/rooms/group/${slug}`)))).map(
      ({ offset }) => offset,
    );
  let before = await read();
  const endMs = performance.now() + LIMIT_MS;
  for (let still = 0; still < 3;) {
    if (performance.now() > endMs) throw new Error("the messages were not delivered in time");
    await pause(1_000);
    const now = await read();
    still = now.every((offset, index) => offset === before[index]) ? still + 1 : 0;
    before = now;
  }
}

async function measureSockets(stack: DemoStack, sockets: number): Promise<Omit<Outcome, "perMessage">> {
  const run = `fanout-${Date.now().toString(36)}`;
  const backend = createRest(stack.apiUrl, stack.serverKey);
  const people = Array.from({ length: PEOPLE }, (_, index) => `${run}-${String(index)}`);
  const members = people.map((user) => ({ user, role: "member" }));
  await backend.putRoom(`/v1/rooms/group/${run}`, { name: "Fan-out", members });
  const tokens = await Promise.all(people.map((user) => backend.token(user)));
  const speaker = createRest(stack.apiUrl, tokens[0] ?? "");
  const before = residentBytes(stack);
  const audience = await openAudience(stack.socketUrl, tokens, sockets);
  try {
    const opened = residentBytes(stack);
    await pause(SETTLE_MS);
    const rested = residentBytes(stack);
    const tell = async (text: string) => {
      const askedAtMs = performance.now();
      await speaker.post(`group:${run}`, text, text);
      await until(() => audience.heard(text).sockets === sockets);
      const { firstAtMs, lastAtMs } = audience.heard(text);
      return { firstMs: firstAtMs - askedAtMs, lastMs: lastAtMs - askedAtMs };
    };
    // The first one makes account, room and join.
    await tell("before");
    const times = [];
    for (let index = 0; index < TOLD; index++) times.push(await tell(`word-${String(index)}`));
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
    await audience.close();
  }
}

/** Resident memory of the realtime process. */
function residentBytes({ pids }: DemoStack): number {
  const status = readFileSync(`/proc/${String(pids["realtime"])}/status`, "utf8");
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * 1_024;
}

async function until(isDone: () => boolean): Promise<void> {
  const endMs = performance.now() + LIMIT_MS;
  while (!isDone()) {
    if (performance.now() > endMs) throw new Error("not everybody heard it in time");
    await pause(1);
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function print(outcome: Outcome, { json, ...asked }: Options<typeof NUMBERS>): void {
  if (json) {
    process.stdout.write(`${JSON.stringify({ ...asked, ...outcome })}\n`);
    return;
  }
  const { perMessage, perSocket, perSocketAtRest, fanout } = outcome;
  const lines = [
    `${String(asked.messages)} messages of ${String(TEXT.length)} characters in ${String(ROOMS)} rooms; ${SYNAPSE_DATA}`,
    "bytes a message",
    `  our Postgres        ${String(perMessage.ours).padStart(8)}`,
    `  Synapse's Postgres  ${(perMessage.synapse === null ? "–" : String(perMessage.synapse)).padStart(8)}`,
    `  Redis               ${String(perMessage.redis).padStart(8)}`,
    `${String(asked.sockets)} sockets of ${String(PEOPLE)} people in one room, one realtime process`,
    `  bytes a socket      ${String(perSocket).padStart(8)}   ${String(SETTLE_MS / 1_000)} s later ${String(perSocketAtRest)}`,
    "  a message, from posting, until",
    `    the first has it  ${fanout.p50FirstMs.toFixed(0).padStart(8)} ms p50`,
    `    all have it       ${fanout.p50LastMs.toFixed(0).padStart(8)} ms p50 ${fanout.p99LastMs.toFixed(0).padStart(6)} ms p99`,
  ];
  process.stdout.write(`${lines.join("\n")}\n`);
}

await runBench(NUMBERS, main);
