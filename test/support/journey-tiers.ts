import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { findFreePort } from "../../stack/ports.mjs";
import { readDistFolder } from "./stack-servers.ts";
import { waitUntil } from "./stack-wait.ts";

const CHECKOUT = fileURLToPath(new URL("../..", import.meta.url));
const STOP_LIMIT_MS = 20_000;
const READY_LIMIT_MS = 60_000;
const FATAL_LEVEL = 60;
const WARN_LEVEL = 40;

const TIERS = {
  api: { args: ["api/main.js"], port: "API_PORT" },
  workers: { args: ["workers/main.js", "--role", "jobs"], port: "JOBS_PORT" },
  sync: { args: ["workers/main.js", "--role", "sync"], port: "SYNC_PORT" },
  realtime: { args: ["realtime/main.js"], port: "REALTIME_PORT" },
} as const;
export type TierName = keyof typeof TIERS;
export const TIER_NAMES = Object.keys(TIERS) as TierName[];

/** A process of the product, as an operator would run it. */
export class Tier {
  readonly name: TierName;
  readonly port: number;
  /** Everything it printed, a line each. */
  readonly lines: string[] = [];
  /** What must not happen to a process: ended by itself, logged as fatal, did not stop when asked. */
  readonly faults: string[] = [];
  readonly #env: NodeJS.ProcessEnv;
  #child: ChildProcess | null = null;
  #isStopping = false;

  constructor(name: TierName, port: number, env: NodeJS.ProcessEnv) {
    this.name = name;
    this.port = port;
    this.#env = { ...env, [TIERS[name].port]: String(port) };
  }

  /** Starts the process and waits until it says that it is ready. */
  async start(): Promise<void> {
    const [program, ...args] = TIERS[this.name].args;
    const child = spawn(process.execPath, [join(readDistFolder(), program), ...args], {
      cwd: CHECKOUT,
      env: this.#env,
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.#child = child;
    this.#isStopping = false;
    for (const stream of [child.stdout, child.stderr]) {
      createInterface({ input: stream }).on("line", (line) => this.#read(line));
    }
    child.once("exit", (code, signal) => {
      if (!this.#isStopping) this.faults.push(`${this.name} ended by itself (${String(signal ?? code)})`);
    });
    await waitUntil(
      `${this.name} is ready`,
      async () => {
        if (hasEnded(child))
          throw new Error(`${this.name} ended while it started:\n${this.lines.slice(-20).join("\n")}`);
        return this.#answersReady();
      },
      { limitMs: READY_LIMIT_MS, explain: () => this.lines.slice(-20).join("\n") },
    );
  }

  /** Asks the process to stop and waits until it has. */
  async stop(): Promise<void> {
    const child = this.#child;
    this.#child = null;
    if (!child) return;
    this.#isStopping = true;
    if (hasEnded(child)) return;
    const ended = once(child, "exit");
    child.kill("SIGTERM");
    const timer = setTimeout(() => {
      this.faults.push(`${this.name} did not stop within ${STOP_LIMIT_MS} ms`);
      child.kill("SIGKILL");
    }, STOP_LIMIT_MS);
    await ended;
    clearTimeout(timer);
    if (child.exitCode !== 0)
      this.faults.push(
        `${this.name} was stopped and exited with ${String(child.signalCode ?? child.exitCode)}`,
      );
  }

  /** The value of one of its metrics. */
  async metric(name: string): Promise<number> {
    const text = await this.metrics();
    const line = text.split("\n").find((candidate) => candidate.startsWith(`${name} `));
    if (line === undefined) throw new Error(`${this.name} has no metric ${name}`);
    return Number(line.slice(name.length + 1));
  }

  /** The text of its metrics. */
  async metrics(): Promise<string> {
    return (await fetch(`http://127.0.0.1:${this.port}/metrics`)).text();
  }

  /** What it warned of, newest last. */
  warnings(): string[] {
    return this.lines.filter((line) => readLevel(line) >= WARN_LEVEL).map((line) => `${this.name}: ${line}`);
  }

  async #answersReady(): Promise<boolean> {
    try {
      const answer = await fetch(`http://127.0.0.1:${this.port}/readyz`, {
        signal: AbortSignal.timeout(2_000),
      });
      return answer.status === 200;
    } catch {
      return false;
    }
  }

  #read(line: string): void {
    this.lines.push(line);
    if (readLevel(line) >= FATAL_LEVEL) this.faults.push(`${this.name} logged as fatal: ${line}`);
  }
}

/** The four tiers, not started, on ports of their own. */
export async function createTiers(env: NodeJS.ProcessEnv): Promise<Record<TierName, Tier>> {
  const ports = new Set<number>();
  const create = async (name: TierName) => {
    let port = await findFreePort();
    while (ports.has(port)) port = await findFreePort();
    ports.add(port);
    return new Tier(name, port, env);
  };
  return {
    api: await create("api"),
    workers: await create("workers"),
    sync: await create("sync"),
    realtime: await create("realtime"),
  };
}

/** Runs one of the product's programs to its end and answers what it printed. */
export async function runProgram(args: readonly string[], env: NodeJS.ProcessEnv): Promise<string> {
  const [program = "", ...rest] = args;
  const child = spawn(process.execPath, [join(readDistFolder(), program), ...rest], {
    cwd: CHECKOUT,
    env,
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  let errors = "";
  child.stdout.on("data", (data: Buffer) => (output += data.toString()));
  child.stderr.on("data", (data: Buffer) => (errors += data.toString()));
  await once(child, "close");
  if (child.exitCode !== 0)
    throw new Error(`${args.join(" ")} failed (${String(child.exitCode)}): ${errors}${output}`);
  return output;
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}

function readLevel(line: string): number {
  return Number(/^\{"level":(\d+)/.exec(line)?.[1] ?? 0);
}
