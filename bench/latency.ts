import { openMatrixPair } from "./matrix/pair.ts";
import { runBench, type Options } from "./options.ts";
import { percentile } from "./percentile.ts";
import { createRest } from "./rest.ts";
import { openSeenLog } from "./scenario/seen-log.ts";
import { readDemoStack, readStackEnv, SYNAPSE_DATA, type DemoStack } from "./stack.ts";
import { openSubscriber, type Publication } from "./scenario/subscriber.ts";
import { pause as sleep } from "./wait.ts";

/**
 * `npm run bench:latency [-- --messages N --turn N --pause MS --json]`, on the running stack's Synapse: the time from a
 * plain Matrix send until the receiver's `/sync` returns it, and from a post through us until it is accepted, until the other
 * person's socket has it with its number, and until the observer has read it back from Matrix, by the observer's own log. One
 * message at a time, so that no queue is measured. The two alternate, so that both run under the same load of the machine.
 *
 * Without options the room is calm: one message each, and a pause in which Matrix follows and every process falls asleep. In a
 * lively room, `--turn 20 --pause 0`, each message follows the one before at once, twenty of a kind in a row. The first
 * messages do not count: a program that has just started runs slower.
 *
 * The publication `sent` tells clients that the observer has read a message. A room has one a second at most, so `sent` is
 * measured by itself, with longer pauses.
 */
const WARM_UP = 200;
const LIMIT_MS = 30_000;
/** Two of them, one after each kind of message, are longer than the second for which publications of `sent` are collected. */
const SENT_PAUSE_MS = 600;
const MAX_SENT = 50;

const NUMBERS = {
  messages: { otherwise: 200, from: 1, to: 100_000 },
  turn: { otherwise: 1, from: 1, to: 100_000 },
  pause: { otherwise: 200, from: 0, to: 60_000 },
};

/** Milliseconds. `sent` is null where it was not waited for. `postedAtMs` is the time of day. */
type Ours = { id: string; postedAtMs: number; accepted: number; numbered: number; sent: number | null };
type Sample = Ours & { direct: number; seen: number };

async function main({ messages, turn, pause, json }: Options<typeof NUMBERS>): Promise<number> {
  const stack = readDemoStack();
  const env = readStackEnv(["SYNAPSE_URL", "SYNAPSE_REGISTRATION_SECRET"]);
  const pair = await openMatrixPair({
    homeserverUrl: env.SYNAPSE_URL,
    registrationSecret: env.SYNAPSE_REGISTRATION_SECRET,
  });
  const ours = await openOurs(stack);
  const seenLog = openSeenLog();
  let next = 0;
  const run = async ({ count, pauseMs, withSent }: { count: number; pauseMs: number; withSent: boolean }) => {
    const texts = Array.from({ length: count }, () => `message ${String(next++)}`);
    const direct = await runEach(texts, pauseMs, pair.exchange);
    const through = await runEach(texts, pauseMs, (text) => ours.exchange(text, withSent));
    return through.map((one, index) => ({ ...one, direct: direct[index] ?? Number.NaN }));
  };
  const repeat = async (total: number, options: Parameters<typeof run>[0]) => {
    const samples: Omit<Sample, "seen">[] = [];
    while (samples.length < total) samples.push(...(await run(options)));
    const seenAtMs = await seenLog.read(samples.map(({ id }) => id));
    return samples.map((one): Sample => ({
      ...one,
      seen: (seenAtMs.get(one.id) ?? Number.NaN) - one.postedAtMs,
    }));
  };
  const first = await run({ count: WARM_UP, pauseMs: 0, withSent: false });
  // Matrix has followed, so that no message waits behind them.
  await seenLog.read(first.map(({ id }) => id));
  const samples = await repeat(messages, { count: turn, pauseMs: pause, withSent: false });
  const sentOptions = { count: 1, pauseMs: SENT_PAUSE_MS, withSent: true };
  const sentSamples = await repeat(Math.min(messages, MAX_SENT), sentOptions);
  pair.close();
  ours.close();
  print(samples, sentSamples, json);
  return 0;
}

async function openOurs(stack: DemoStack) {
  const run = Date.now().toString(36);
  const server = createRest(stack.apiUrl, stack.serverKey);
  const [sender, receiver] = [`sender-${run}`, `receiver-${run}`];
  await server.putRoom(`/v1/rooms/group/bench-${run}`, {
    name: "Bench",
    members: [sender, receiver].map((user) => ({ user, role: "member" })),
  });
  const rest = createRest(stack.apiUrl, await server.token(sender));
  const publications: Publication[] = [];
  let wake: () => void = () => undefined;
  const subscriber = await openSubscriber({
    socketUrl: stack.socketUrl,
    user: receiver,
    getToken: () => server.token(receiver),
    onPublication: (publication) => {
      publications.push(publication);
      wake();
    },
  });
  const find = async (what: string, isIt: (publication: Publication) => boolean): Promise<number> => {
    const limitAtMs = performance.now() + LIMIT_MS;
    for (;;) {
      const found = publications.find(isIt);
      if (found) return found.atMs;
      if (performance.now() > limitAtMs) throw new Error(`no ${what} within ${String(LIMIT_MS)} ms`);
      await new Promise<void>((resolve) => {
        wake = resolve;
        setTimeout(resolve, 1_000);
      });
    }
  };
  return {
    exchange: async (text: string, withSent: boolean): Promise<Ours> => {
      publications.length = 0;
      const startedAtMs = performance.now();
      const postedAtMs = performance.timeOrigin + startedAtMs;
      const message = await rest.post(`group:bench-${run}`, text, `bench-${text.replaceAll(" ", "-")}`);
      const accepted = performance.now() - startedAtMs;
      const isIt = (one: Publication) => one.type === "message.created" && one.id === message.id;
      const numbered = (await find("message", isIt)) - startedAtMs;
      const isSent = (one: Publication) => one.type === "sent" && (one.number ?? 0) >= (message.number ?? 0);
      const sent = withSent ? (await find("sent", isSent)) - startedAtMs : null;
      return { id: message.id, postedAtMs, accepted, numbered, sent };
    },
    close: subscriber.close,
  };
}

function print(samples: readonly Sample[], sentSamples: readonly Sample[], json: boolean): void {
  const table = createRows(samples, ["accepted", "numbered", "seen", "direct"]);
  const sentTable = createRows(sentSamples, ["sent", "direct"]);
  const toDirect = (rows: readonly Row[], name: string) => p50Of(rows, name) / p50Of(rows, "direct");
  const ratios = {
    numberedToDirect: toDirect(table, "numbered"),
    seenToDirect: toDirect(table, "seen"),
    sentToDirect: toDirect(sentTable, "sent"),
  };
  if (json) {
    const figures = {
      messages: samples.length,
      rows: table,
      sentRows: sentTable,
      ...ratios,
    };
    process.stdout.write(`${JSON.stringify(figures)}\n`);
    return;
  }
  process.stdout.write(`${String(samples.length)} messages each, in turn, one at a time; ${SYNAPSE_DATA}\n`);
  process.stdout.write("ms                        p50      p90      p99\n");
  for (const row of table) process.stdout.write(describeRow(row));
  process.stdout.write(`${String(sentSamples.length)} messages each, with pauses\n`);
  for (const row of sentTable) process.stdout.write(describeRow(row));
  process.stdout.write(
    `latency: accept_p50=${p50Of(table, "accepted").toFixed(1)} numbered/direct=${ratios.numberedToDirect.toFixed(2)} ` +
      `seen/direct=${ratios.seenToDirect.toFixed(2)} sent/direct=${ratios.sentToDirect.toFixed(2)}\n`,
  );
}

type Row = { name: string; p50: number; p90: number; p99: number };

type Measure = "accepted" | "numbered" | "seen" | "sent" | "direct";

function p50Of(rows: readonly Row[], name: string): number {
  return rows.find((row) => row.name === name)?.p50 ?? Number.NaN;
}

function createRows(samples: readonly Sample[], names: readonly Measure[]): Row[] {
  return names.map((name) => {
    const values = samples.flatMap((sample) => sample[name] ?? []);
    const at = (share: number) => percentile(values, share) ?? Number.NaN;
    return { name, p50: at(0.5), p90: at(0.9), p99: at(0.99) };
  });
}

function describeRow({ name, p50, p90, p99 }: Row): string {
  return `${name.padEnd(18)}${[p50, p90, p99].map((value) => value.toFixed(1).padStart(9)).join("")}\n`;
}

async function runEach<T>(
  texts: readonly string[],
  pauseMs: number,
  work: (text: string) => Promise<T>,
): Promise<T[]> {
  const results: T[] = [];
  for (const text of texts) {
    results.push(await work(text));
    if (pauseMs > 0) await sleep(pauseMs);
  }
  return results;
}

await runBench(NUMBERS, main);
