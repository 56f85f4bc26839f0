import { openMatrixPair } from "./latency/matrix-pair.ts";
import { runBench, type Options } from "./options.ts";
import { percentile } from "./percentile.ts";
import { createRest } from "./rest.ts";
import { readDemoStack, readStackEnv, SYNAPSE_DATA, type DemoStack } from "./stack.ts";
import { openSubscriber, type Publication } from "./subscriber.ts";

/**
 * `npm run bench:latency [-- --messages N --turn N --pause MS --json]`, on the running stack's Synapse: the time from a
 * plain Matrix send until the receiver's `/sync` returns it, and from a post through us until the socket receives it. One
 * message at a time, so that no queue is measured. The two alternate, so that both run under the same load of the machine.
 *
 * Without options the room is calm: one message each, and a pause in which every process falls asleep. In a lively room,
 * `--turn 20 --pause 0`, each message follows the one before at once, twenty of a kind in a row. The first messages do not
 * count: a program that has just started runs slower.
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
  const env = readStackEnv(["SYNAPSE_URL", "SYNAPSE_REGISTRATION_SECRET"]);
  const pair = await openMatrixPair({
    homeserverUrl: env.SYNAPSE_URL,
    registrationSecret: env.SYNAPSE_REGISTRATION_SECRET,
  });
  const ours = await openOurs(stack);
  const run = <T>(
    path: { exchange: (text: string) => Promise<T> },
    { first, count, pauseMs = pause }: { first: number; count: number; pauseMs?: number },
  ) => runEach(count, pauseMs, (index) => path.exchange(`message ${String(first + index)}`));
  const warmUp = { first: 0, count: WARM_UP, pauseMs: 0 };
  await run(pair, warmUp);
  await run(ours, warmUp);
  const samples: Sample[] = [];
  for (let done = 0; done < messages; done += turn) {
    const next = { first: WARM_UP + done, count: turn };
    const direct = await run(pair, next);
    const through = await run(ours, next);
    samples.push(...through.map((one, index) => ({ ...one, direct: direct[index] ?? Number.NaN })));
  }
  pair.close();
  ours.close();
  print(samples, json);
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
  const find = async (id: string, type: string): Promise<number> => {
    const limitAtMs = performance.now() + LIMIT_MS;
    for (;;) {
      const found = publications.find((candidate) => candidate.id === id && candidate.type === type);
      if (found) return found.atMs;
      if (performance.now() > limitAtMs) throw new Error(`no ${type} within ${String(LIMIT_MS)} ms`);
      await new Promise<void>((resolve) => {
        wake = resolve;
        setTimeout(resolve, 1_000);
      });
    }
  };
  return {
    exchange: async (text: string) => {
      publications.length = 0;
      const startedAtMs = performance.now();
      const message = await rest.post(`group:bench-${run}`, text, `bench-${text.replaceAll(" ", "-")}`);
      const accepted = performance.now() - startedAtMs;
      const delivered = (await find(message.id, "message.created")) - startedAtMs;
      const pending = (await find(message.id, "message.pending")) - startedAtMs;
      return { accepted, pending, delivered };
    },
    close: subscriber.close,
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

async function runEach<T>(count: number, pauseMs: number, work: (index: number) => Promise<T>): Promise<T[]> {
  const results: T[] = [];
  for (let index = 0; index < count; index++) {
    results.push(await work(index));
    if (pauseMs > 0) await new Promise((resolve) => setTimeout(resolve, pauseMs));
  }
  return results;
}

await runBench(NUMBERS, main);
