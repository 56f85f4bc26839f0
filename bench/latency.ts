import { openMatrixPair } from "./direct/matrix-pair.ts";
import { runBench, type Options } from "./options.ts";
import { percentile } from "./percentile.ts";
import { openListener, type Heard } from "./scenario/listener.ts";
import { createRest } from "./scenario/rest.ts";
import { readDemoStack, SYNAPSE_DATA, type DemoStack } from "./scenario/stack.ts";

/**
 * `npm run bench:latency [-- --messages N --turn N --pause MS --json]`: on the running stack's Synapse, in turn, a plain
 * Matrix send until the receiver's `/sync` shows it, and a post through us until the socket shows it. One message at a
 * time, so that no queue is measured; the arms alternate, so that the machine's moods fall on both.
 *
 * A calm room, as without options: one message each, and a pause after it, in which every process falls asleep. A lively
 * one: `--turn 20 --pause 0`, each message when the one before was heard, twenty of an arm in a row. Messages of a lively
 * room come first and do not count, since a program that has just started runs slower.
 */
const WARM_UP = 200;
const LIMIT_MS = 30_000;

const NUMBERS = {
  messages: { otherwise: 200, from: 1, to: 100_000 },
  turn: { otherwise: 1, from: 1, to: 100_000 },
  pause: { otherwise: 60, from: 0, to: 60_000 },
};

type Sample = { direct: number; accepted: number; pending: number; delivered: number };

async function main({ messages, turn, pause, json }: Options<typeof NUMBERS>): Promise<number> {
  const stack = readDemoStack();
  const homeserverUrl = process.env["SYNAPSE_URL"];
  const registrationSecret = process.env["SYNAPSE_REGISTRATION_SECRET"];
  if (!stack || homeserverUrl === undefined || registrationSecret === undefined) {
    process.stderr.write("no stack is running: npm run up\n");
    return 2;
  }
  const pair = await openMatrixPair({ homeserverUrl, registrationSecret });
  const ours = await openOurs(stack);
  const take = <T>(
    arm: { exchange: (text: string) => Promise<T> },
    { first, count, pauseMs = pause }: { first: number; count: number; pauseMs?: number },
  ) => inTurn(count, pauseMs, (index) => arm.exchange(`message ${String(first + index)}`));
  const warmUp = { first: 0, count: WARM_UP, pauseMs: 0 };
  await take(pair, warmUp);
  await take(ours, warmUp);
  const samples: Sample[] = [];
  for (let done = 0; done < messages; done += turn) {
    const next = { first: WARM_UP + done, count: turn };
    const direct = await take(pair, next);
    const mine = await take(ours, next);
    samples.push(...mine.map((one, index) => ({ ...one, direct: direct[index] ?? Number.NaN })));
  }
  pair.close();
  ours.close();
  print(samples, json);
  return 0;
}

async function openOurs(stack: DemoStack) {
  const run = Date.now().toString(36);
  const server = createRest(stack.apiUrl, stack.serverKey);
  const [speaker, hearer] = [`speaker-${run}`, `hearer-${run}`];
  await server.putRoom(`/v1/rooms/group/bench-${run}`, {
    name: "Bench",
    members: [speaker, hearer].map((user) => ({ user, role: "member" })),
  });
  const rest = createRest(stack.apiUrl, await server.token(speaker));
  const heard: Heard[] = [];
  let wake: () => void = () => undefined;
  const listener = await openListener({
    socketUrl: stack.socketUrl,
    person: hearer,
    getToken: () => server.token(hearer),
    onHeard: (one) => {
      heard.push(one);
      wake();
    },
  });
  const find = async (id: string, type: string): Promise<number> => {
    const limitAtMs = performance.now() + LIMIT_MS;
    for (;;) {
      const one = heard.find((candidate) => candidate.id === id && candidate.type === type);
      if (one) return one.atMs;
      if (performance.now() > limitAtMs) throw new Error(`no ${type} within ${String(LIMIT_MS)} ms`);
      await new Promise<void>((resolve) => {
        wake = resolve;
        setTimeout(resolve, 1_000);
      });
    }
  };
  return {
    exchange: async (text: string) => {
      heard.length = 0;
      const startedAtMs = performance.now();
      const message = await rest.post(`group:bench-${run}`, text, `bench-${text.replaceAll(" ", "-")}`);
      const accepted = performance.now() - startedAtMs;
      const delivered = (await find(message.id, "message.created")) - startedAtMs;
      const pending = (await find(message.id, "message.pending")) - startedAtMs;
      return { accepted, pending, delivered };
    },
    close: listener.close,
  };
}

function print(samples: readonly Sample[], json: boolean): void {
  const column = (name: keyof Sample) => samples.map((sample) => sample[name]);
  const of = (name: keyof Sample, share: number) => percentile(column(name), share) ?? Number.NaN;
  const rows = (["direct", "accepted", "pending", "delivered"] as const).map((name) => ({
    name,
    p50: of(name, 0.5),
    p90: of(name, 0.9),
    p99: of(name, 0.99),
  }));
  const ratio = of("delivered", 0.5) / of("direct", 0.5);
  if (json) {
    process.stdout.write(`${JSON.stringify({ messages: samples.length, rows, deliveredToDirect: ratio })}\n`);
    return;
  }
  process.stdout.write(`${String(samples.length)} messages each, in turn, one at a time; ${SYNAPSE_DATA}\n`);
  process.stdout.write("ms                        p50      p90      p99\n");
  for (const { name, p50, p90, p99 } of rows) {
    const cells = [p50, p90, p99].map((value) => value.toFixed(1).padStart(9)).join("");
    process.stdout.write(`${name.padEnd(18)}${cells}\n`);
  }
  process.stdout.write(
    `latency: accept_p50=${rows[1]?.p50.toFixed(1) ?? ""} pending_p50=${rows[2]?.p50.toFixed(1) ?? ""} delivered/direct=${ratio.toFixed(2)}\n`,
  );
}

async function inTurn<T>(count: number, pauseMs: number, work: (index: number) => Promise<T>): Promise<T[]> {
  const results: T[] = [];
  for (let index = 0; index < count; index++) {
    results.push(await work(index));
    if (pauseMs > 0) await new Promise((resolve) => setTimeout(resolve, pauseMs));
  }
  return results;
}

await runBench(NUMBERS, main);
