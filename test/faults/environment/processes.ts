import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { appendFileSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { answers, launchTier, readMetrics, type TierName } from "./tiers.ts";

const LINES_KEPT = 2_000;
const RESTART_MS = 500;
const READY_LIMIT_MS = 60_000;
const STOP_LIMIT_MS = 20_000;

export type Ended = { code: number | null; signal: NodeJS.Signals | null };

/** One process of a tier. When it is supervised, it is started again half a second after an unexpected end. */
export class TierProcess {
  readonly tier: TierName;
  readonly name: string;
  readonly port: number;
  readonly lines: string[] = [];
  /** Unexpected ends. */
  readonly ends: Ended[] = [];
  isSupervised = true;
  /** It runs with an environment of its own, such as a failpoint. */
  isSpecial = false;
  readonly #distDir: string;
  readonly #program: string | undefined;
  readonly #logPath: string | null;
  readonly #env: NodeJS.ProcessEnv;
  #child: ChildProcess | null = null;
  #isExpected = false;

  constructor(
    tier: TierName,
    options: {
      name: string;
      port: number;
      distDir: string;
      program?: string | undefined;
      env: NodeJS.ProcessEnv;
      logDir: string | null;
    },
  ) {
    this.tier = tier;
    this.name = options.name;
    this.port = options.port;
    this.#distDir = options.distDir;
    this.#program = options.program;
    // A test run that ends without stopping its processes leaves none behind.
    process.once("exit", () => this.#child?.kill("SIGKILL"));
    if (options.logDir !== null) mkdirSync(options.logDir, { recursive: true });
    this.#logPath = options.logDir === null ? null : join(options.logDir, `${options.name}.log`);
    this.#env = options.env;
  }

  get pid(): number | null {
    return this.#child?.pid ?? null;
  }

  /** Starts the process and waits until it is ready. `extra` is its environment until its next start. */
  async start(extra: NodeJS.ProcessEnv = {}): Promise<void> {
    this.launch(extra);
    await this.ready();
  }

  launch(extra: NodeJS.ProcessEnv = {}): void {
    const child = launchTier(this.tier, {
      distDir: this.#distDir,
      program: this.#program,
      port: this.port,
      env: { ...this.#env, ...extra },
      onLine: (line) => {
        this.lines.push(line);
        if (this.#logPath !== null) appendFileSync(this.#logPath, `${line}\n`);
        if (this.lines.length > LINES_KEPT) this.lines.shift();
      },
    });
    this.#child = child;
    this.isSpecial = Object.keys(extra).length > 0;
    this.#isExpected = false;
    child.once("exit", (code, signal) => {
      if (this.#child === child) this.#child = null;
      if (this.#isExpected) return;
      this.ends.push({ code, signal });
      if (this.isSupervised) setTimeout(() => this.#restart(), RESTART_MS).unref();
    });
  }

  #restart(): void {
    if (this.isSupervised && this.#child === null && !this.#isExpected) this.launch();
  }

  async ready(limitMs = READY_LIMIT_MS): Promise<void> {
    const endMs = performance.now() + limitMs;
    while (!(await answers(this.port, "/livez"))) {
      if (performance.now() > endMs || (this.pid === null && !this.isSupervised)) {
        throw new Error(`${this.name} is not ready:\n${this.lines.slice(-20).join("\n")}`);
      }
      await sleep(50);
    }
  }

  signal(name: NodeJS.Signals): void {
    this.#child?.kill(name);
  }

  /** Sends SIGKILL; resolves when the process has ended. */
  async kill(): Promise<void> {
    const child = this.#child;
    if (!child) return;
    const ended = once(child, "exit");
    child.kill("SIGKILL");
    await ended;
  }

  /** Sends SIGTERM; resolves when the process has ended. It is not started again. */
  async stop(): Promise<Ended & { ms: number }> {
    const child = this.#child;
    this.#isExpected = true;
    if (!child) return { code: null, signal: null, ms: 0 };
    const startMs = performance.now();
    const ended = once(child, "exit");
    child.kill("SIGCONT");
    child.kill("SIGTERM");
    const killer = setTimeout(() => child.kill("SIGKILL"), STOP_LIMIT_MS);
    await ended;
    clearTimeout(killer);
    return { code: child.exitCode, signal: child.signalCode, ms: performance.now() - startMs };
  }

  /** The sum of a metric's values over all lines whose labels match. */
  async metric(name: string, labels = ""): Promise<number> {
    return (await readMetrics(this.port))
      .split("\n")
      .filter((line) => (line.startsWith(`${name}{`) || line.startsWith(`${name} `)) && line.includes(labels))
      .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(" ") + 1)), 0);
  }
}
