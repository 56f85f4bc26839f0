import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { appendFileSync, mkdirSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";

const LINES_KEPT = 2_000;
const RESTART_MS = 500;
const READY_LIMIT_MS = 60_000;
const STOP_LIMIT_MS = 20_000;

/** The tiers, and how each is started and told its port. */
export const TIERS = {
  api: { args: ["api/main.js"], port: "API_PORT" },
  workers: { args: ["workers/main.js", "--role", "jobs"], port: "JOBS_PORT" },
  sync: { args: ["workers/main.js", "--role", "sync"], port: "SYNC_PORT" },
  realtime: { args: ["realtime/main.js"], port: "REALTIME_PORT" },
} as const;
export type TierName = keyof typeof TIERS;
export const TIER_NAMES = Object.keys(TIERS) as TierName[];

export type Ended = { code: number | null; signal: NodeJS.Signals | null };

/** One process of a tier. Supervised, it is started again half a second after an end that nobody asked for. */
export class TierProcess {
  readonly tier: TierName;
  readonly name: string;
  readonly port: number;
  readonly lines: string[] = [];
  /** Ends that nobody asked for. */
  readonly ends: Ended[] = [];
  isSupervised = true;
  /** It was started with something of its own, as a place to die at: not as the others. */
  isSpecial = false;
  readonly #command: string[];
  readonly #logPath: string | null;
  readonly #env: NodeJS.ProcessEnv;
  #child: ChildProcess | null = null;
  #isExpected = false;

  constructor(
    tier: TierName,
    options: { name: string; port: number; distDir: string; env: NodeJS.ProcessEnv; logDir: string | null },
  ) {
    this.tier = tier;
    this.name = options.name;
    this.port = options.port;
    const [program, ...args] = TIERS[tier].args;
    this.#command = [join(options.distDir, program), ...args];
    // Whoever ends without stopping its processes leaves none behind.
    process.once("exit", () => this.#child?.kill("SIGKILL"));
    if (options.logDir !== null) mkdirSync(options.logDir, { recursive: true });
    this.#logPath = options.logDir === null ? null : join(options.logDir, `${options.name}.log`);
    this.#env = { ...options.env, [TIERS[tier].port]: String(options.port) };
  }

  get pid(): number | null {
    return this.#child?.pid ?? null;
  }

  /** Starts the process and waits until it says that it is ready. `extra` goes for this one life. */
  async start(extra: NodeJS.ProcessEnv = {}): Promise<void> {
    this.launch(extra);
    await this.ready();
  }

  launch(extra: NodeJS.ProcessEnv = {}): void {
    const child = spawn(process.execPath, this.#command, {
      env: { ...this.#env, ...extra },
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.#child = child;
    this.isSpecial = Object.keys(extra).length > 0;
    this.#isExpected = false;
    for (const stream of [child.stdout, child.stderr]) {
      createInterface({ input: stream }).on("line", (line) => {
        this.lines.push(line);
        if (this.#logPath !== null) appendFileSync(this.#logPath, `${line}\n`);
        if (this.lines.length > LINES_KEPT) this.lines.shift();
      });
    }
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
    while (!(await isReady(this.port))) {
      if (performance.now() > endMs || (this.pid === null && !this.isSupervised)) {
        throw new Error(`${this.name} is not ready:\n${this.lines.slice(-20).join("\n")}`);
      }
      await sleep(50);
    }
  }

  signal(name: NodeJS.Signals): void {
    this.#child?.kill(name);
  }

  /** Kills it, as -9 does. Resolves when it is gone. */
  async kill(): Promise<void> {
    const child = this.#child;
    if (!child) return;
    const ended = once(child, "exit");
    child.kill("SIGKILL");
    await ended;
  }

  /** Asks it to stop; it stays stopped. */
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

  /** The sum of a metric's values over all its labels that match. */
  async metric(name: string, labels = ""): Promise<number> {
    const text = await (await fetch(`http://127.0.0.1:${String(this.port)}/metrics`)).text();
    return text
      .split("\n")
      .filter((line) => (line.startsWith(`${name}{`) || line.startsWith(`${name} `)) && line.includes(labels))
      .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(" ") + 1)), 0);
  }
}

async function isReady(port: number): Promise<boolean> {
  try {
    return (await fetch(`http://127.0.0.1:${String(port)}/livez`, { signal: AbortSignal.timeout(2_000) })).ok;
  } catch {
    return false;
  }
}

const given = new Set<number>();

/** A port that nobody uses, never the same twice. */
export async function findPort(): Promise<number> {
  for (;;) {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const address = server.address();
    const port = typeof address === "object" && address ? address.port : 0;
    server.close();
    await once(server, "close");
    if (given.has(port)) continue;
    given.add(port);
    return port;
  }
}
