import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { resolve } from "node:path";
import { answers, findPort, launchTier, readMetrics, type TierName } from "../../faults/environment/tiers.ts";
import { readDistFolder } from "../stack-servers.ts";
import { waitUntil } from "../stack-wait.ts";

const STOP_LIMIT_MS = 20_000;
const READY_LIMIT_MS = 60_000;
const FATAL_LEVEL = 60;
const WARN_LEVEL = 40;

/** A process of the product, as an operator runs it. */
export class Tier {
  readonly name: TierName;
  readonly port: number;
  /** Every line that it printed. */
  readonly lines: string[] = [];
  /** Faults of the process: it ended by itself, logged a fatal line, or did not stop on SIGTERM. */
  readonly faults: string[] = [];
  readonly #env: NodeJS.ProcessEnv;
  #child: ChildProcess | null = null;
  #isStopping = false;

  constructor(name: TierName, port: number, env: NodeJS.ProcessEnv) {
    this.name = name;
    this.port = port;
    this.#env = env;
  }

  /** Starts the process and waits until it is ready. */
  async start(): Promise<void> {
    const child = launchTier(this.name, {
      distDir: readDistFolder(),
      port: this.port,
      env: this.#env,
      onLine: (line) => this.#read(line),
    });
    this.#child = child;
    this.#isStopping = false;
    child.once("exit", (code, signal) => {
      if (!this.#isStopping) this.faults.push(`${this.name} ended by itself (${String(signal ?? code)})`);
    });
    await waitUntil(
      `${this.name} is ready`,
      async () => {
        if (hasEnded(child))
          throw new Error(`${this.name} ended while it started:\n${this.lines.slice(-20).join("\n")}`);
        return answers(this.port, "/readyz");
      },
      { limitMs: READY_LIMIT_MS, explain: () => this.lines.slice(-20).join("\n") },
    );
  }

  /** Sends SIGTERM and waits for the end. */
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

  /** Kills the process, as `kill -9` does. */
  async kill(): Promise<void> {
    const child = this.#child;
    this.#child = null;
    if (!child || hasEnded(child)) return;
    this.#isStopping = true;
    const ended = once(child, "exit");
    child.kill("SIGKILL");
    await ended;
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
    return readMetrics(this.port);
  }

  /** Its warnings, newest last. */
  warnings(): string[] {
    return this.lines.filter((line) => readLevel(line) >= WARN_LEVEL).map((line) => `${this.name}: ${line}`);
  }

  #read(line: string): void {
    this.lines.push(line);
    if (readLevel(line) >= FATAL_LEVEL) this.faults.push(`${this.name} logged as fatal: ${line}`);
  }
}

/** The four tiers, not started, on ports of their own. */
export async function createTiers(env: NodeJS.ProcessEnv): Promise<Record<TierName, Tier>> {
  const create = async (name: TierName) => new Tier(name, await findPort(), env);
  return {
    api: await create("api"),
    workers: await create("workers"),
    sync: await create("sync"),
    realtime: await create("realtime"),
  };
}

/** Runs a program of the product to its end in a folder and returns what it printed. */
export async function runProgram(
  args: readonly string[],
  env: NodeJS.ProcessEnv,
  cwd = process.cwd(),
): Promise<string> {
  const { exitCode, output, errors } = await runToEnd(args, env, cwd);
  if (exitCode !== 0) throw new Error(`${args.join(" ")} failed (${String(exitCode)}): ${errors}${output}`);
  return output;
}

/** Runs one of the built programs, whatever its exit code. */
export async function runToEnd(
  args: readonly string[],
  env: NodeJS.ProcessEnv,
  cwd = process.cwd(),
): Promise<{ exitCode: number | null; output: string; errors: string }> {
  const [program = "", ...rest] = args;
  const child = spawn(process.execPath, [resolve(readDistFolder(), program), ...rest], {
    env,
    cwd,
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  let errors = "";
  child.stdout.on("data", (data: Buffer) => (output += data.toString()));
  child.stderr.on("data", (data: Buffer) => (errors += data.toString()));
  await once(child, "close");
  return { exitCode: child.exitCode, output, errors };
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}

function readLevel(line: string): number {
  return Number(/^\{"level":(\d+)/.exec(line)?.[1] ?? 0);
}
