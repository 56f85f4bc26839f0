import { spawn, type ChildProcess } from "node:child_process";
import { randomInt } from "node:crypto";
import { createServer } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";

/** The tiers: the arguments that start each, and the variable of its port. */
const TIERS = {
  api: { args: ["api/main.js"], port: "API_PORT" },
  workers: { args: ["workers/main.js", "--role", "jobs"], port: "JOBS_PORT" },
  sync: { args: ["workers/main.js", "--role", "sync"], port: "SYNC_PORT" },
  realtime: { args: ["realtime/main.js"], port: "REALTIME_PORT" },
} as const;
export type TierName = keyof typeof TIERS;
export const TIER_NAMES = Object.keys(TIERS) as TierName[];

/**
 * Starts a process of the compiled product as an operator does; `onLine` receives each line that it prints. `program`
 * replaces the tier's own.
 */
export function launchTier(
  tier: TierName,
  options: {
    distDir: string;
    program?: string | undefined;
    port: number;
    env: NodeJS.ProcessEnv;
    onLine: (line: string) => void;
  },
): ChildProcess {
  const [program, ...args] = TIERS[tier].args;
  const child = spawn(process.execPath, [join(options.distDir, options.program ?? program), ...args], {
    env: { ...options.env, [TIERS[tier].port]: String(options.port) },
    stdio: ["ignore", "pipe", "pipe"],
  });
  for (const stream of [child.stdout, child.stderr])
    createInterface({ input: stream }).on("line", options.onLine);
  return child;
}

/** Whether a process answers 2xx: `/livez` when it runs, `/readyz` when it also reaches its servers. */
export async function answers(port: number, path: "/livez" | "/readyz"): Promise<boolean> {
  try {
    const answer = await fetch(`http://127.0.0.1:${String(port)}${path}`, {
      signal: AbortSignal.timeout(2_000),
    });
    return answer.ok;
  } catch {
    return false;
  }
}

/** The text of a process's metrics. */
export async function readMetrics(port: number): Promise<string> {
  return (await fetch(`http://127.0.0.1:${String(port)}/metrics`)).text();
}

// Below the range from which the kernel takes outgoing ports, so that no client's socket is in the way.
const LOWEST_PORT = 20_000;
const HIGHEST_PORT = 32_000;
const given = new Set<number>();

/** A free port, never the same twice in one process. */
export async function findPort(): Promise<number> {
  for (;;) {
    const port = randomInt(LOWEST_PORT, HIGHEST_PORT);
    if (given.has(port) || !(await isFree(port))) continue;
    given.add(port);
    return port;
  }
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => {
      resolve(false);
    });
    server.listen({ port, host: "127.0.0.1", exclusive: true }, () => {
      server.close(() => {
        resolve(true);
      });
    });
  });
}
