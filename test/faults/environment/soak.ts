import { setTimeout as sleep } from "node:timers/promises";
import { openLoad, type Load } from "./load.ts";
import { openEnvironment, type Environment, type OwnServers } from "./environment.ts";
import { FAULT_SCENARIOS } from "./scenarios.ts";
import { TIER_NAMES } from "./tiers.ts";
import { createRandom, type Random } from "./random.ts";
import { checkLoad, waitForDelivery, waitForMatrix, type CheckResult } from "./checker.ts";
import { firstMs, longestMs } from "./judge/delivery-times.ts";

export type SoakOptions = {
  servers: OwnServers;
  distDir: string;
  logDir: string;
  minutes: number;
  seed: number;
  messagesPerS: number;
  write: (line: string) => void;
};

type InjectedFault = { kind: string; what: string; atMs: number };

const FAULT_EVERY_MS = 5_000;
const FIGURES_EVERY_MS = 30_000;
/** A longer wait is printed by itself. */
const SLOW_MS = 10_000;
const SETTLE_LIMIT_MS = 90_000;

/**
 * Runs traffic for minutes and injects a fault every five seconds, then checks every message. The same seed makes the same
 * schedule. Returns whether every message was kept.
 */
export async function runSoak(options: SoakOptions): Promise<boolean> {
  const { write, seed, minutes } = options;
  write(
    `seed ${String(seed)}, ${String(minutes)} minutes, ${String(options.messagesPerS)} messages a second; logs in ${options.logDir}`,
  );
  const environment = await openEnvironment({
    ...options,
    counts: { api: 2, workers: 2, sync: 2, realtime: 2 },
    sendMs: 1,
  });
  try {
    const load = await openLoad(environment, { name: "soak", rooms: 12, people: 8, acts: true });
    const startMs = performance.now();
    const traffic = load.startTraffic(options.messagesPerS, createRandom(seed + 1));
    const watch = setInterval(() => void printFigures(environment, startMs, write), FIGURES_EVERY_MS);
    await printFigures(environment, startMs, write);
    const injected = await injectFaults(environment, createRandom(seed), {
      startMs,
      untilMs: startMs + minutes * 60_000,
      write,
    });
    await environment.heal();
    const healedMs = performance.now();
    await traffic.stop();
    clearInterval(watch);
    const isComplete =
      (await waitForDelivery(load, SETTLE_LIMIT_MS)) &&
      (await waitForMatrix(environment, load, SETTLE_LIMIT_MS));
    write(
      `settled ${isComplete ? "" : "NOT "}within ${seconds(performance.now() - healedMs)} after the last fault`,
    );
    await printFigures(environment, startMs, write);
    printRecoveries(load, injected, { startMs, write });
    return printResult(load, await checkLoad(environment, load), isComplete, write);
  } finally {
    await environment.close();
  }
}

async function injectFaults(
  environment: Environment,
  random: Random,
  { startMs, untilMs, write }: { startMs: number; untilMs: number; write: (line: string) => void },
): Promise<InjectedFault[]> {
  const injected: InjectedFault[] = [];
  const busy = new Set<string>();
  const running: Promise<void>[] = [];
  for (let step = 1; startMs + step * FAULT_EVERY_MS < untilMs; step++) {
    await sleep(startMs + step * FAULT_EVERY_MS - performance.now());
    const scenario = random.pick(FAULT_SCENARIOS)(environment, random);
    const subject = /Redis|FLUSHALL/.test(scenario.kind)
      ? "redis"
      : scenario.kind.includes("Postgres")
        ? "postgres"
        : scenario.kind;
    // The random choice goes on: the schedule does not depend on how long a fault lasts.
    if (busy.has(subject)) {
      write(`${seconds(performance.now() - startMs)} ${scenario.what}: skipped, the last one has not ended`);
      continue;
    }
    busy.add(subject);
    injected.push({ kind: scenario.kind, what: scenario.what, atMs: performance.now() });
    write(`${seconds(performance.now() - startMs)} ${scenario.what}`);
    running.push(
      scenario
        .run()
        .catch((error: unknown) => {
          write(`${scenario.what} failed: ${String(error)}`);
        })
        .finally(() => busy.delete(subject)),
    );
  }
  await Promise.all(running);
  return injected;
}

/** Prints the memory of each process in MiB and the number of connections to the servers. */
async function printFigures(
  environment: Environment,
  startMs: number,
  write: (line: string) => void,
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
  write(
    `${seconds(performance.now() - startMs)} figures: MiB ${memory.join(", ")}; connections Postgres ${String(postgres[0]?.count ?? "-")}, Redis ${redis}`,
  );
}

function printRecoveries(
  load: Load,
  injected: readonly InjectedFault[],
  { startMs, write }: { startMs: number; write: (line: string) => void },
): void {
  const kinds = new Map<string, { times: number; first: number; longest: number }>();
  for (const { kind, what, atMs } of injected) {
    const known = kinds.get(kind) ?? { times: 0, first: 0, longest: 0 };
    const longest = longestMs(load, "seen", atMs, atMs + FAULT_EVERY_MS);
    if (longest > SLOW_MS) write(`slow: ${what} at ${seconds(atMs - startMs)}: ${seconds(longest)}`);
    kinds.set(kind, {
      times: known.times + 1,
      first: Math.max(known.first, firstMs(load, "seen", atMs) ?? 0),
      longest: Math.max(known.longest, longest),
    });
  }
  write(
    "fault | times | first message on Matrix after it, at most | longest way to Matrix of one posted in the 5 s after it",
  );
  for (const [kind, { times, first, longest }] of [...kinds].sort(([a], [b]) => (a < b ? -1 : 1))) {
    write(`${kind} | ${String(times)} | ${seconds(first)} | ${seconds(longest)}`);
  }
}

function printResult(
  { acts }: Load,
  result: CheckResult,
  isComplete: boolean,
  write: (line: string) => void,
): boolean {
  for (const detail of result.details) write(detail);
  const { accepted, lost, doubled, reordered, dead, wrong } = result;
  write(
    `faults: accepted=${String(accepted)} lost=${String(lost)} doubled=${String(doubled)} reordered=${String(reordered)} dead=${String(dead)} acts=${String(acts.filter(({ id }) => id !== null).length)} wrong=${String(wrong)}`,
  );
  return isComplete && lost + doubled + reordered + dead + wrong === 0;
}

function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(1)} s`;
}
