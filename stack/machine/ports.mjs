import { randomInt } from "node:crypto";
import { createServer } from "node:net";
import { Fault } from "./fault.mjs";

/** Below the range from which the kernel takes outgoing ports, so that no client's socket is in the way. */
const lowestPort = 20_000;
const highestPort = 32_000;

/**
 * Whether a server of ours can listen on a port of 127.0.0.1.
 * @param {number} port
 */
export function isPortFree(port) {
  return canListen({ port, host: "127.0.0.1" });
}

/**
 * @param {{port: number, host?: string}} place
 * @returns {Promise<boolean>}
 */
function canListen(place) {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen({ ...place, exclusive: true }, () => server.close(() => resolve(true)));
  });
}

/**
 * The preferred port if it is free, else a random free one.
 * @param {number} [preferred]
 */
export async function findFreePort(preferred) {
  if (preferred !== undefined && (await isPortFree(preferred))) return preferred;
  for (let tries = 0; tries < 200; tries += 1) {
    const port = randomInt(lowestPort, highestPort);
    if (await isPortFree(port)) return port;
  }
  throw new Fault(`no free port between ${lowestPort} and ${highestPort}`, {
    advice: "stop what holds them",
  });
}

/**
 * Reads a port from the environment.
 * @param {NodeJS.ProcessEnv} env
 * @param {string} variable
 * @param {number} fallback
 */
export function readPort(env, variable, fallback) {
  const text = env[variable];
  if (text === undefined || text === "") return fallback;
  const port = Number(text);
  if (/^\d{1,5}$/.test(text) && port >= 1 && port <= 65_535) return port;
  throw new Fault(`${variable} is not a port: "${text}"`, {
    advice: `set ${variable} to a number from 1 to 65535`,
    exitCode: 2,
  });
}

/**
 * @throws Fault when another program holds a port of a process of the product, on the address where it will listen.
 * @param {Record<string, number>} ports by the variable that chooses each
 * @param {string} bindAddress
 */
export async function refuseTakenPorts(ports, bindAddress) {
  const entries = Object.entries(ports);
  for (const [index, [variable, port]] of entries.entries()) {
    const same = entries.slice(0, index).find(([, other]) => other === port);
    if (same)
      throw new Fault(`${same[0]} and ${variable} are both ${port}`, {
        advice: `choose another ${variable}`,
        exitCode: 2,
      });
    if (await canListen({ port, host: bindAddress })) continue;
    throw new Fault(`port ${port} is taken by another program`, {
      advice: `stop that program, or choose another port: ${variable}=${port + 1_000} npm run up`,
      exitCode: 2,
    });
  }
}
