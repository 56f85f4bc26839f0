import { afterAll, afterEach, beforeAll, expect } from "@jest/globals";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { resolve } from "node:path";
import { openLoad, type Load, type LoadPlan } from "./load.ts";
import {
  openEnvironment,
  type Environment,
  type EnvironmentOptions,
  type RealHomeserver,
} from "./environment.ts";
import { createRandom, type Random } from "./random.ts";
import { checkLoad, waitForDelivery, waitForMatrix, type CheckResult } from "./checker.ts";
import { firstMs, lastMs, longestMs, type Goal } from "./judge/delivery-times.ts";
import { startThrowAwayServers } from "../../../stack/servers/throw-away.mjs";
import { readDistFolder } from "../../support/stack-servers.ts";

/** How long Node takes to start and end on an idle machine. */
const IDLE_START_MS = 120;
const OPEN_LIMIT_MS = 120_000;
const SEED = 20_261_123;

/** No message is missing, duplicated or out of order. */
const KEPT = { lost: 0, doubled: 0, reordered: 0, wrong: 0, details: [] };

/** An environment for the tests of one file, on servers of its own that may be killed. It is healed after each test. */
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
  readonly #loads: Load[] = [];
  #environment: Environment | null = null;
  #stop: () => Promise<void> = () => Promise.resolve();

  constructor(options: Partial<EnvironmentOptions> & { real?: () => Promise<RealHomeserver> }) {
    this.#options = options;
  }

  get environment(): Environment {
    if (!this.#environment) throw new Error("the environment is not open");
    return this.#environment;
  }

  async open(): Promise<void> {
    const { real, ...options } = this.#options;
    // Durable: an acknowledged commit must survive a kill of Postgres.
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

  async openLoad(plan: LoadPlan): Promise<Load> {
    const load = await openLoad(this.environment, plan);
    this.#loads.push(load);
    return load;
  }

  /** Every accepted message reaches every socket, and Matrix, each within the limit, once and in order. */
  async expectKept(load: Load, limitMs: number, expected: Partial<CheckResult> = {}): Promise<CheckResult> {
    const isComplete =
      (await waitForDelivery(load, limitMs)) && (await waitForMatrix(this.environment, load, limitMs));
    const result = await checkLoad(this.environment, load, { isReal: this.#options.real !== undefined });
    expect({ isComplete, ...result, warnings: isComplete ? [] : this.#warnings() }).toMatchObject({
      isComplete: true,
      ...KEPT,
      dead: 0,
      ...expected,
      warnings: [],
    });
    return result;
  }

  /** From a moment until the first later message was delivered, or seen on Matrix. */
  firstMs(load: Load, goal: Goal, sinceMs: number): number {
    return firstMs(load, goal, sinceMs) ?? Infinity;
  }

  longestMs(load: Load, goal: Goal, sinceMs: number, untilMs = Infinity): number {
    return longestMs(load, goal, sinceMs, untilMs);
  }

  /** From a moment until the last message was delivered, or seen on Matrix. */
  lastMs(load: Load, goal: Goal, sinceMs: number): number {
    return lastMs(load, goal) - sinceMs;
  }

  /** A limit for this machine: longer by the factor by which Node starts slower here than on an idle machine. */
  async limitMs(idleLimitMs: number): Promise<number> {
    let longestMs = IDLE_START_MS;
    for (let start = 0; start < 5; start++) {
      const startedAtMs = performance.now();
      await once(spawn(process.execPath, ["-e", "0"], { stdio: "ignore" }), "exit");
      longestMs = Math.max(longestMs, performance.now() - startedAtMs);
    }
    return idleLimitMs * (longestMs / IDLE_START_MS);
  }

  /** Prints a measured figure beside the test's result. */
  report(what: string, ms: number): void {
    process.stdout.write(`figure: ${what}: ${Math.round(ms)} ms\n`);
  }

  async heal(): Promise<void> {
    for (const load of this.#loads.splice(0)) load.close();
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
