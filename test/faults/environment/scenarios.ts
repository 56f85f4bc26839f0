import { setTimeout as sleep } from "node:timers/promises";
import type { FaultKind } from "./homeserver/faults.ts";
import { killService, LINKS, type Environment, type LinkName } from "./environment.ts";
import type { TierName } from "./tiers.ts";
import type { TierProcess } from "./processes.ts";
import type { Random } from "./random.ts";

/** A fault that ends by itself; `run` resolves when it has ended. */
export type FaultScenario = { kind: string; what: string; run: () => Promise<void> };

type ScenarioFactory = (environment: Environment, random: Random) => FaultScenario;

const FROZEN_MS = 3_000;
/** Longer than the lease of a room or an observer. */
const LONGER_THAN_LEASE_MS = 8_000;
const CUT_MS = 1_000;
const DOWN_MS = 2_000;
const UNRELIABLE_MS = 4_000;

const HOMESERVER_FAULTS: readonly FaultKind[] = [
  { do: "refuse", status: 500, errcode: "M_UNKNOWN" },
  { do: "html", status: 502 },
  { do: "reset" },
  { do: "lose the answer" },
  { do: "hang in head", ms: 2_000 },
  { do: "hang in body", ms: 2_000 },
  { do: "limit", retryAfterMs: 1_000 },
];

/** Every link except the one from the test to the API. */
const SERVER_LINKS: readonly LinkName[] = LINKS.filter((name) => name !== "api");

function forTier(
  verb: string,
  tier: TierName,
  act: (process: TierProcess) => Promise<void>,
): ScenarioFactory {
  return (environment, random) => {
    const chosen = random.pick(environment.of(tier));
    return { kind: `${verb} ${tier}`, what: `${verb} ${chosen.name}`, run: () => act(chosen) };
  };
}

const kill = (tier: TierName) => forTier("kill -9", tier, (process) => process.kill());

const pause = (tier: TierName, ms: number) =>
  forTier("SIGSTOP", tier, async (process) => {
    process.signal("SIGSTOP");
    await sleep(ms);
    process.signal("SIGCONT");
  });

function forLink(verb: "cut" | "freeze", ms: number): ScenarioFactory {
  return (environment, random) => {
    const name = random.pick(SERVER_LINKS);
    return {
      kind: `${verb} a link`,
      what: `${verb} ${name} for ${String(ms / 1_000)} s`,
      run: async () => {
        environment.links[name][verb]();
        await sleep(ms);
        environment.links[name].heal();
      },
    };
  };
}

function simple(kind: string, run: (environment: Environment) => Promise<void>): ScenarioFactory {
  return (environment) => ({ kind, what: kind, run: () => run(environment) });
}

function restartPostgres(kind: string, signal: NodeJS.Signals): ScenarioFactory {
  return simple(kind, async ({ servers }) => {
    await killService(servers.services["postgres"], signal);
    await sleep(DOWN_MS);
    await servers.services["postgres"]?.start();
  });
}

/** What a long run chooses from. */
export const FAULT_SCENARIOS: readonly ScenarioFactory[] = [
  kill("api"),
  kill("workers"),
  kill("workers"),
  kill("sync"),
  kill("realtime"),
  pause("api", FROZEN_MS),
  pause("workers", LONGER_THAN_LEASE_MS),
  pause("sync", LONGER_THAN_LEASE_MS),
  pause("realtime", FROZEN_MS),
  simple("kill -9 Redis", async ({ servers }) => {
    await killService(servers.services["redis"]);
    await sleep(DOWN_MS);
    await servers.services["redis"]?.start();
  }),
  simple("SIGSTOP Redis", async ({ servers }) => {
    const pid = servers.services["redis"]?.pid;
    if (pid === undefined) return;
    process.kill(pid, "SIGSTOP");
    await sleep(FROZEN_MS);
    process.kill(pid, "SIGCONT");
  }),
  simple("FLUSHALL", async ({ redis }) => {
    // A stopped Redis has nothing to flush.
    await redis.flushall().catch(() => undefined);
  }),
  restartPostgres("restart Postgres", "SIGINT"),
  restartPostgres("crash Postgres", "SIGQUIT"),
  simple("shaky homeserver", async ({ standIn }) => {
    const ends = HOMESERVER_FAULTS.map((fault) =>
      standIn.faults.add({ path: /client\//, share: 0.03, fault }),
    );
    await sleep(UNRELIABLE_MS);
    for (const end of ends) end();
  }),
  simple("homeserver down", async ({ standIn }) => {
    await standIn.stop();
    await sleep(DOWN_MS);
    await standIn.start();
  }),
  forLink("cut", CUT_MS),
  forLink("cut", CUT_MS),
  forLink("freeze", FROZEN_MS),
];
