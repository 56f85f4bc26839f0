import { setTimeout as sleep } from "node:timers/promises";
import { gather, type Load } from "./load.ts";
import { openEnvironment, type Environment, type OwnServers } from "./environment.ts";
import { SCENARIOS } from "./scenarios.ts";
import { TIER_NAMES } from "./tiers.ts";
import { createRandom, type Random } from "./random.ts";
import { firstDeliveryMs, judge, longestDeliveryMs, waitForAll, type Verdict } from "./checker.ts";

export type SoakOptions = {
  servers: OwnServers;
  distDir: string;
  logDir: string;
  minutes: number;
  seed: number;
  messagesPerS: number;
  say: (line: string) => void;
};

type Happened = { kind: string; what: string; atMs: number };

const EVERY_MS = 5_000;
const FIGURES_EVERY_MS = 30_000;
/** Waits longer than this are named one by one. */
const SLOW_MS = 10_000;
const SETTLE_LIMIT_MS = 90_000;

/**
 * Lets people talk for minutes while something goes wrong every five seconds, and judges what became of it. The same
 * seed makes the same schedule. Answers whether everything was kept.
 */
export async function runSoak(options: SoakOptions): Promise<boolean> {
  const { say, seed, minutes } = options;
  say(
    `seed ${String(seed)}, ${String(minutes)} minutes, ${String(options.messagesPerS)} messages a second; logs in ${options.logDir}`,
  );
  const environment = await openEnvironment({
    ...options,
    counts: { api: 2, workers: 2, sync: 2, realtime: 2 },
    sendMs: 1,
  });
  try {
    const load = await gather(environment, { name: "soak", rooms: 12, people: 8 });
    const startMs = performance.now();
    const talk = load.talk(options.messagesPerS, createRandom(seed + 1));
    const watch = setInterval(() => void tellFigures(environment, startMs, say), FIGURES_EVERY_MS);
    await tellFigures(environment, startMs, say);
    const happened = await misbehave(environment, createRandom(seed), {
      startMs,
      untilMs: startMs + minutes * 60_000,
      say,
    });
    await environment.heal();
    const healedMs = performance.now();
    await talk.stop();
    clearInterval(watch);
    const isComplete = await waitForAll(load, SETTLE_LIMIT_MS);
    say(
      `settled ${isComplete ? "" : "NOT "}within ${seconds(performance.now() - healedMs)} after the last fault`,
    );
    await tellFigures(environment, startMs, say);
    tellRecoveries(load, happened, { startMs, say });
    return tellVerdict(await judge(environment, load), isComplete, say);
  } finally {
    await environment.close();
  }
}

async function misbehave(
  environment: Environment,
  random: Random,
  { startMs, untilMs, say }: { startMs: number; untilMs: number; say: (line: string) => void },
): Promise<Happened[]> {
  const happened: Happened[] = [];
  const busy = new Set<string>();
  const underWay: Promise<void>[] = [];
  for (let turn = 1; startMs + turn * EVERY_MS < untilMs; turn++) {
    await sleep(startMs + turn * EVERY_MS - performance.now());
    const mishap = random.pick(SCENARIOS)(environment, random);
    const subject = /Redis|FLUSHALL/.test(mishap.kind)
      ? "redis"
      : mishap.kind.includes("Postgres")
        ? "postgres"
        : mishap.kind;
    // Chance chooses on as before: the schedule does not depend on how long things take.
    if (busy.has(subject)) {
      say(`${seconds(performance.now() - startMs)} ${mishap.what}: left out, the last one is not over`);
      continue;
    }
    busy.add(subject);
    happened.push({ kind: mishap.kind, what: mishap.what, atMs: performance.now() });
    say(`${seconds(performance.now() - startMs)} ${mishap.what}`);
    underWay.push(
      mishap
        .run()
        .catch((error: unknown) => {
          say(`${mishap.what} went wrong itself: ${String(error)}`);
        })
        .finally(() => busy.delete(subject)),
    );
  }
  await Promise.all(underWay);
  return happened;
}

/** Memory in MiB of each process, and who is connected to the servers. */
async function tellFigures(
  environment: Environment,
  startMs: number,
  say: (line: string) => void,
): Promise<void> {
  const memory = await Promise.all(
    TIER_NAMES.map(async (tier) => {
      const sizes = await Promise.all(
        environment
          .of(tier)
          .map((process) => process.metric("process_resident_memory_bytes").catch(() => Number.NaN)),
      );
      return `${tier} ${sizes.map((bytes) => (Number.isNaN(bytes) ? "-" : String(Math.round(bytes / 1_048_576)))).join("/")}`;
    }),
  );
  const postgres = await environment
    .sql<{ count: number }>(
      "select count(*) as count from pg_stat_activity where application_name like 'omc-%'",
    )
    .catch(() => []);
  const clients = await environment.redis.info("clients").catch(() => "");
  const redis = /connected_clients:(\d+)/.exec(clients)?.[1] ?? "-";
  say(
    `${seconds(performance.now() - startMs)} figures: MiB ${memory.join(", ")}; connections Postgres ${String(postgres[0]?.count ?? "-")}, Redis ${redis}`,
  );
}

function tellRecoveries(
  load: Load,
  happened: readonly Happened[],
  { startMs, say }: { startMs: number; say: (line: string) => void },
): void {
  const kinds = new Map<string, { times: number; first: number; longest: number }>();
  for (const { kind, what, atMs } of happened) {
    const known = kinds.get(kind) ?? { times: 0, first: 0, longest: 0 };
    const longestMs = longestDeliveryMs(load, atMs, atMs + EVERY_MS);
    if (longestMs > SLOW_MS) say(`slow: ${what} at ${seconds(atMs - startMs)}: ${seconds(longestMs)}`);
    kinds.set(kind, {
      times: known.times + 1,
      first: Math.max(known.first, firstDeliveryMs(load, atMs) ?? 0),
      longest: Math.max(known.longest, longestMs),
    });
  }
  say(
    "fault | times | first delivery after it, at most | longest wait of a message said in the 5 s after it",
  );
  for (const [kind, { times, first, longest }] of [...kinds].sort(([a], [b]) => (a < b ? -1 : 1))) {
    say(`${kind} | ${String(times)} | ${seconds(first)} | ${seconds(longest)}`);
  }
}

function tellVerdict(verdict: Verdict, isComplete: boolean, say: (line: string) => void): boolean {
  for (const detail of verdict.details) say(detail);
  const { accepted, lost, doubled, reordered, dead } = verdict;
  say(
    `faults: accepted=${String(accepted)} lost=${String(lost)} doubled=${String(doubled)} reordered=${String(reordered)} dead=${String(dead)}`,
  );
  return isComplete && lost + doubled + reordered + dead === 0;
}

function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(1)} s`;
}
