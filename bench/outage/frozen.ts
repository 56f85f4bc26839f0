import { percentile } from "../percentile.ts";
import { createRest } from "../rest.ts";
import type { DemoStack } from "../stack.ts";
import { openSubscriber } from "../scenario/subscriber.ts";
import { holdsWithin, pause } from "../wait.ts";

const PAUSE_MS = 20;
const LIMIT_MS = 120_000;

type FrozenOptions = { messages: number; json: boolean };

type Outcome = {
  server: string;
  p50: number;
  p95: number;
  max: number;
  deliveredAfterMs: number;
  isKept: boolean;
};

/**
 * How long a post takes to be accepted while the process of Synapse, or of Redis, is stopped. It is continued afterwards; then
 * every message must arrive, once and in order. Returns the exit code.
 */
export async function measureFrozen(stack: DemoStack, options: FrozenOptions): Promise<number> {
  const outcomes: Outcome[] = [];
  for (const server of ["nothing", "synapse", "redis"])
    outcomes.push(await measure(stack, server, options.messages));
  print(outcomes, options);
  return outcomes.every(({ isKept }) => isKept) ? 0 : 1;
}

function print(outcomes: readonly Outcome[], { messages, json }: FrozenOptions): void {
  if (json) {
    process.stdout.write(`${JSON.stringify({ messages, outcomes })}\n`);
    return;
  }
  process.stdout.write(`${String(messages)} posts each, one after the other\n`);
  process.stdout.write("frozen      accept p50 ms   p95 ms   max ms   all delivered after ms   kept\n");
  for (const { server, p50, p95, max, deliveredAfterMs, isKept } of outcomes) {
    const cells = [p50.toFixed(1).padStart(13), p95.toFixed(1).padStart(9), max.toFixed(1).padStart(9)];
    process.stdout.write(
      `${server.padEnd(12)}${cells.join("")}${deliveredAfterMs.toFixed(0).padStart(25)}   ${isKept ? "yes" : "NO"}\n`,
    );
  }
}

async function measure(stack: DemoStack, server: string, messages: number): Promise<Outcome> {
  const run = `${server}-${Date.now().toString(36)}`;
  const room = `group:outage-${run}`;
  const backend = createRest(stack.apiUrl, stack.serverKey);
  await backend.putRoom(`/v1/rooms/group/outage-${run}`, {
    name: "Outage",
    members: [{ user: run, role: "member" }],
  });
  const rest = createRest(stack.apiUrl, await backend.token(run));
  const received: string[] = [];
  const subscriber = await openSubscriber({
    socketUrl: stack.socketUrl,
    user: run,
    getToken: () => backend.token(run),
    onPublication: ({ type, id }) => {
      if (type === "message.created") received.push(id);
    },
  });
  const first = await rest.post(room, "before", "before");
  await holdsWithin(LIMIT_MS, () => received.includes(first.id));
  const pid = stack.pids[server];
  if (pid !== undefined) process.kill(pid, "SIGSTOP");
  const ids = [first.id];
  const times: number[] = [];
  try {
    for (let index = 0; index < messages; index++) {
      const askedAtMs = performance.now();
      ids.push((await rest.post(room, `during ${String(index)}`, `during-${String(index)}`)).id);
      times.push(performance.now() - askedAtMs);
      await pause(PAUSE_MS);
    }
  } finally {
    if (pid !== undefined) process.kill(pid, "SIGCONT");
  }
  const continuedAtMs = performance.now();
  await holdsWithin(LIMIT_MS, () => new Set(received).size >= ids.length);
  subscriber.close();
  const [p50, p95, max] = [0.5, 0.95, 1].map((share) => percentile(times, share) ?? 0);
  const isKept = JSON.stringify(received) === JSON.stringify(ids);
  return {
    server,
    p50: p50 ?? 0,
    p95: p95 ?? 0,
    max: max ?? 0,
    deliveredAfterMs: performance.now() - continuedAtMs,
    isKept,
  };
}
