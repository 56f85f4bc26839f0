import { afterAll, afterEach, beforeAll, expect } from "@jest/globals";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { resolve } from "node:path";
import { gather, type Load, type LoadPlan } from "../faults/environment/load.ts";
import {
  openEnvironment,
  type Environment,
  type EnvironmentOptions,
  type RealHomeserver,
} from "../faults/environment/environment.ts";
import { createRandom, type Random } from "../faults/environment/random.ts";
import {
  firstDeliveryMs,
  judge,
  longestDeliveryMs,
  waitForAll,
  type Verdict,
} from "../faults/environment/checker.ts";
import { startThrowAwayServers } from "../../stack/servers/throw-away.mjs";
import { readDistFolder } from "./stack-servers.ts";

/** How long Node takes to start, and end, on a machine that does nothing else. */
const CALM_START_MS = 120;
const OPEN_LIMIT_MS = 120_000;
const SEED = 20_261_123;

/** Whatever is broken: nothing is missing, nothing is there twice, nothing changes places. */
const KEPT = { lost: 0, doubled: 0, reordered: 0, details: [] };

/** A house for the tests of one file, on servers of its own that may be killed; healed after each test. */
export function useEnvironment(
  options: Partial<EnvironmentOptions> & { real?: () => Promise<RealHomeserver> } = {},
): Faults {
  const faults = new Faults(options);
  beforeAll(() => faults.open(), OPEN_LIMIT_MS);
  afterEach(() => faults.heal(), OPEN_LIMIT_MS);
  afterAll(() => faults.close(), OPEN_LIMIT_MS);
  return faults;
}

export class Faults {
  readonly random: Random = createRandom(SEED);
  readonly #options: Partial<EnvironmentOptions> & { real?: () => Promise<RealHomeserver> };
  readonly #crowds: Load[] = [];
  #environment: Environment | null = null;
  #stop: () => Promise<void> = () => Promise.resolve();

  constructor(options: Partial<EnvironmentOptions> & { real?: () => Promise<RealHomeserver> }) {
    this.#options = options;
  }

  get environment(): Environment {
    if (!this.#environment) throw new Error("the house is not open");
    return this.#environment;
  }

  async open(): Promise<void> {
    const { real, ...options } = this.#options;
    // Durable: what Postgres has acknowledged must survive its being killed.
    const servers = await startThrowAwayServers({ only: ["postgres", "redis"], durable: true });
    this.#stop = servers.stop;
    const homeserver = await real?.();
    this.#environment = await openEnvironment({
      servers,
      distDir: resolve(readDistFolder()),
      seed: SEED,
      logDir: process.env["TEST_FAULTS_LOGS"] ?? null,
      ...options,
      ...(homeserver ? { homeserver } : {}),
    });
  }

  async gather(plan: LoadPlan): Promise<Load> {
    const load = await gather(this.environment, plan);
    this.#crowds.push(load);
    return load;
  }

  /** Everything that was said is told to everybody within the limit, once, in order. */
  async expectKept(load: Load, limitMs: number, expected: Partial<Verdict> = {}): Promise<Verdict> {
    const isComplete = await waitForAll(load, limitMs);
    const verdict = await judge(this.environment, load, { isReal: this.#options.real !== undefined });
    expect({ isComplete, ...verdict, warnings: isComplete ? [] : this.#warnings() }).toMatchObject({
      isComplete: true,
      ...KEPT,
      dead: 0,
      ...expected,
      warnings: [],
    });
    return verdict;
  }

  /** How long after a moment the first message came through again. */
  firstDeliveryMs(load: Load, sinceMs: number): number {
    return firstDeliveryMs(load, sinceMs) ?? Infinity;
  }

  longestDeliveryMs(load: Load, sinceMs: number, untilMs = Infinity): number {
    return longestDeliveryMs(load, sinceMs, untilMs);
  }

  /** When the last socket was told the last message, by `performance.now()`. */
  lastDeliveryMs({ subscribers }: Load): number {
    return Math.max(
      ...subscribers.flatMap(({ known }) => [...known.values()].map(({ told }) => told.at(-1)?.atMs ?? 0)),
    );
  }

  /**
   * A limit as it is on a machine that is busy with other things: so many times as long as starting Node takes longer
   * than on a calm one.
   */
  async limitMs(calmLimitMs: number): Promise<number> {
    let longestMs = CALM_START_MS;
    for (let start = 0; start < 5; start++) {
      const startedAtMs = performance.now();
      await once(spawn(process.execPath, ["-e", "0"], { stdio: "ignore" }), "exit");
      longestMs = Math.max(longestMs, performance.now() - startedAtMs);
    }
    return calmLimitMs * (longestMs / CALM_START_MS);
  }

  /** Prints a measured figure beside the test's outcome. */
  report(what: string, ms: number): void {
    process.stdout.write(`figure: ${what}: ${Math.round(ms)} ms\n`);
  }

  async heal(): Promise<void> {
    for (const load of this.#crowds.splice(0)) load.leave();
    await this.#environment?.heal();
  }

  async close(): Promise<void> {
    await this.#environment?.close();
    await this.#stop();
  }

  #warnings(): string[] {
    return this.environment.processes.flatMap(({ name, lines }) =>
      lines
        .filter((line) => /^\{"level":[4-6]0/.test(line))
        .slice(-6)
        .map((line) => `${name}: ${line.slice(0, 600)}`),
    );
  }
}
