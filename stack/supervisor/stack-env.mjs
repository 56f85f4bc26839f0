import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { readJson, writePrivateJson } from "../machine/files.mjs";
import { Fault } from "../machine/fault.mjs";

/** The file in the state folder with the generated SEAL_KEYS. */
export const SEAL_KEYS_FILE = "seal-keys.json";

/**
 * The variables by which the product's processes and tools find their servers.
 * @param {{servers: import("../servers/servers.mjs").Servers, mode: "appservice" | "admin", ports: Record<string, number>, sealKeys: string}} given
 * @returns {Record<string, string>}
 */
export function createStackEnv({ servers, mode, ports, sealKeys }) {
  return {
    DATABASE_URL: servers.databaseUrl,
    REDIS_URL: servers.redisUrl,
    SYNAPSE_URL: servers.synapseUrl,
    SYNAPSE_SERVER_NAME: servers.synapseServerName,
    ...(servers.asToken ? { SYNAPSE_AS_TOKEN: servers.asToken } : {}),
    ...(servers.registrationSecret ? { SYNAPSE_REGISTRATION_SECRET: servers.registrationSecret } : {}),
    ...(servers.synapseData ? { STACK_SYNAPSE_DATA: servers.synapseData } : {}),
    MATRIX_MODE: mode,
    // A Synapse that was started here is one process. Only the operator of another one knows. The caller's value wins.
    ...(servers.services.synapse && !process.env.MATRIX_READ ? { MATRIX_READ: "events" } : {}),
    SEAL_KEYS: sealKeys,
    BIND_ADDRESS: chooseBindAddress(process.env),
    ...Object.fromEntries(Object.entries(ports).map(([variable, port]) => [variable, String(port)])),
  };
}

/**
 * Where the processes listen: where the caller says, else on this machine alone.
 * @param {NodeJS.ProcessEnv} env
 */
export function chooseBindAddress(env) {
  return env.BIND_ADDRESS || "127.0.0.1";
}

/**
 * The host by which this machine reaches processes that listen on an address, as a URL writes it.
 * @param {string} bindAddress
 */
export function hostOf(bindAddress) {
  if (["0.0.0.0", "::"].includes(bindAddress)) return "127.0.0.1";
  return bindAddress.includes(":") ? `[${bindAddress}]` : bindAddress;
}

/**
 * How the workers authenticate to Matrix: by MATRIX_MODE, else by the secrets of a named Synapse, else as our own
 * Application Service.
 * @param {NodeJS.ProcessEnv} env
 * @returns {"appservice" | "admin"}
 */
export function chooseMatrixMode(env) {
  const mode = env.MATRIX_MODE;
  if (mode === "appservice" || mode === "admin") return mode;
  if (mode)
    throw new Fault(`MATRIX_MODE is "${mode}"`, {
      exitCode: 2,
      advice: "set it to appservice or admin, or to nothing",
    });
  return env.SYNAPSE_URL && !env.SYNAPSE_AS_TOKEN && env.SYNAPSE_REGISTRATION_SECRET ? "admin" : "appservice";
}

/**
 * The keys that seal stored credentials: the caller's, else generated ones that are kept with the data.
 * @param {{stateDir: string, env: NodeJS.ProcessEnv}} given
 * @returns {string}
 */
export function ensureSealKeys({ stateDir, env }) {
  if (env.SEAL_KEYS) return env.SEAL_KEYS;
  const path = join(stateDir, SEAL_KEYS_FILE);
  const kept = readJson(path)?.sealKeys;
  if (kept !== undefined) return kept;
  const sealKeys = `k1:${randomBytes(32).toString("base64")}`;
  writePrivateJson(path, { sealKeys });
  return sealKeys;
}
