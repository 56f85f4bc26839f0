import { Fault, Unavailable } from "../machine/fault.mjs";

/** The ways to get a server, in the order in which they are tried. */
export const sourceNames = /** @type {const} */ (["url", "embedded", "system", "apt"]);

/** @typedef {typeof sourceNames[number]} SourceName */

/**
 * What a source returns, and its description for the log.
 * @template T
 * @typedef {{text: string, value: T}} Found
 */

/**
 * The sources to try for one server.
 * @param {"postgres" | "redis" | "synapse"} server
 * @param {NodeJS.ProcessEnv} env
 * @returns {readonly SourceName[]}
 */
export function listSources(server, env) {
  const variable = `STACK_${server.toUpperCase()}`;
  const forced = env[variable];
  if (forced === undefined || forced === "") return sourceNames;
  const name = sourceNames.find((candidate) => candidate === forced);
  if (name !== undefined) return [name];
  throw new Fault(`${variable} is "${forced}"`, {
    advice: `set it to one of ${sourceNames.join(", ")}, or to nothing`,
    exitCode: 2,
  });
}

/**
 * Tries the sources in their order and returns the result of the first usable one.
 * @template Running what a URL names
 * @template Program what can be started
 * @param {{
 *   server: "postgres" | "redis" | "synapse",
 *   env: NodeJS.ProcessEnv,
 *   log: (line: string) => void,
 *   sources: Record<"url", () => Promise<Found<Running>>> & Record<"embedded" | "system" | "apt", () => Promise<Found<Program>>>,
 * }} given
 * @returns {Promise<Running | Program>}
 */
export async function chooseSource({ server, env, log, sources }) {
  const names = listSources(server, env);
  const refusals = [];
  for (const name of names) {
    try {
      const { text, value } = await sources[name]();
      log(`${server}: using ${name}: ${text}`);
      return value;
    } catch (error) {
      if (!(error instanceof Unavailable)) throw error;
      log(`${server}: not ${name}: ${error.message}`);
      refusals.push(`${name}: ${error.message}`);
    }
  }
  throw new Fault(`no ${server} to start:\n  ${refusals.join("\n  ")}`, {
    advice: `repair one of these sources, or name a running server (${urlVariables[server]})`,
  });
}

const urlVariables = { postgres: "DATABASE_URL", redis: "REDIS_URL", synapse: "SYNAPSE_URL" };
