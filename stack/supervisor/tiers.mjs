import { join } from "node:path";
import { checkoutDir } from "../machine/paths.mjs";
import { readPort } from "../machine/ports.mjs";
import { createService } from "./service.mjs";

/** The processes of the product, in the order in which they start. */
export const tiers = /** @type {const} */ ([
  { name: "api", args: ["dist/api/main.js"], portVariable: "API_PORT", port: 3_000 },
  {
    name: "workers",
    args: ["dist/workers/main.js", "--role", "jobs"],
    portVariable: "JOBS_PORT",
    port: 3_002,
  },
  { name: "sync", args: ["dist/workers/main.js", "--role", "sync"], portVariable: "SYNC_PORT", port: 3_003 },
  { name: "realtime", args: ["dist/realtime/main.js"], portVariable: "REALTIME_PORT", port: 3_001 },
]);

/**
 * The port of each tier, by the variable that chooses it.
 * @param {NodeJS.ProcessEnv} env
 * @returns {Record<string, number>}
 */
export function readTierPorts(env) {
  return Object.fromEntries(
    tiers.map(({ portVariable, port }) => [portVariable, readPort(env, portVariable, port)]),
  );
}

/** @param {readonly string[]} args */
const runHere = (args) => [process.execPath, ...args];

/**
 * @param {{tier: typeof tiers[number], env: NodeJS.ProcessEnv, port: number, host?: string, logDir: string, command?: (args: readonly string[]) => string[]}} given
 *   `command` makes the command line from Node's arguments; this Node runs them unless it is given
 */
export function createTier({ tier, env, port, host = "127.0.0.1", logDir, command = runHere }) {
  return createService({
    name: tier.name,
    command: command(tier.args),
    cwd: checkoutDir,
    env,
    logPath: join(logDir, `${tier.name}.log`),
    isReady: () => answersReady(host, port),
    readyLimitMs: 120_000,
  });
}

/**
 * @param {string} host
 * @param {number} port
 */
async function answersReady(host, port) {
  try {
    const answer = await fetch(`http://${host}:${port}/readyz`, { signal: AbortSignal.timeout(2_000) });
    return answer.status === 200;
  } catch {
    // Not listening yet.
    return false;
  }
}
