import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { Fault, Unavailable } from "../../machine/fault.mjs";
import { createSecret, readJson, writePrivate, writePrivateJson } from "../../machine/files.mjs";
import { createPythonEnv } from "../../packages/python.mjs";
import { createService } from "../../supervisor/service.mjs";
import { chooseSource } from "../sources.mjs";
import { openSynapseData } from "./synapse-data.mjs";
import { createHomeserverConfig, createLogConfig, createRegistration } from "./synapse-config.mjs";
import { findEmbeddedSynapse, findSystemSynapse, installSystemSynapse } from "./synapse-programs.mjs";

const defaultServerName = "openmeet.local";

/** @typedef {{url: string, serverName: string, asToken?: string, registrationSecret?: string, data?: string}} RunningSynapse */

/**
 * A running Synapse named by its URL, or the program to start one.
 * @param {{env: NodeJS.ProcessEnv, mode: import("./synapse-config.mjs").SynapseMode, cacheDir: string, log: (line: string) => void}} given
 * @returns {Promise<RunningSynapse | import("./synapse-programs.mjs").SynapseProgram>}
 */
export function chooseSynapse({ env, mode, cacheDir, log }) {
  return chooseSource({
    server: "synapse",
    env,
    log,
    sources: {
      url: () => checkUrl(env, mode),
      embedded: () => findEmbeddedSynapse({ cacheDir, log }),
      system: () => findSystemSynapse(),
      apt: () => installSystemSynapse({ cacheDir, log }),
    },
  });
}

/**
 * @param {NodeJS.ProcessEnv} env
 * @param {import("./synapse-config.mjs").SynapseMode} mode
 */
async function checkUrl(env, mode) {
  const {
    SYNAPSE_URL: url,
    SYNAPSE_SERVER_NAME: serverName,
    SYNAPSE_AS_TOKEN: asToken,
    SYNAPSE_REGISTRATION_SECRET: registrationSecret,
  } = env;
  if (!url) throw new Unavailable("SYNAPSE_URL is not set");
  const credential = mode === "appservice" ? "SYNAPSE_AS_TOKEN" : "SYNAPSE_REGISTRATION_SECRET";
  if (!serverName || !env[credential]) {
    throw new Fault(`SYNAPSE_URL is set without ${serverName ? credential : "SYNAPSE_SERVER_NAME"}`, {
      exitCode: 2,
      advice: `for MATRIX_MODE=${mode} set SYNAPSE_SERVER_NAME and ${credential} too, or unset SYNAPSE_URL`,
    });
  }
  if (!(await isSynapseReady(url)))
    throw new Fault(`no Synapse answers at ${url}`, {
      advice: "start it, or unset SYNAPSE_URL to have one started",
    });
  const value = {
    url,
    serverName,
    ...(asToken ? { asToken } : {}),
    ...(registrationSecret ? { registrationSecret } : {}),
  };
  return { text: `SYNAPSE_URL ${url}`, value };
}

/**
 * A Synapse of our own on a port of 127.0.0.1, its data below the state folder or in our Postgres.
 * @param {{
 *   program: import("./synapse-programs.mjs").SynapseProgram,
 *   mode: import("./synapse-config.mjs").SynapseMode,
 *   name?: string, stateDir: string, logDir: string, port: number, env: NodeJS.ProcessEnv, durable: boolean,
 *   findDatabase: () => Promise<import("./synapse-data.mjs").Place | undefined>, log: (line: string) => void,
 * }} given
 */
export async function createSynapse(given) {
  const { program, mode, name = "synapse", stateDir, logDir, port, env } = given;
  const dataDir = join(stateDir, name);
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  const settings = readSettings(join(dataDir, "settings.json"), env.SYNAPSE_SERVER_NAME || undefined);
  const paths = {
    config: join(dataDir, "homeserver.yaml"),
    signingKey: join(dataDir, "signing.key"),
    logConfig: join(dataDir, "log.yaml"),
    registration: join(dataDir, "registration.yaml"),
  };
  // Synapse's own format: algorithm, version, seed in base64 without padding.
  if (!existsSync(paths.signingKey))
    writePrivate(
      paths.signingKey,
      `ed25519 a_stack ${randomBytes(32).toString("base64").replaceAll("=", "")}\n`,
    );
  const database = await openSynapseData({ ...given, dataDir, hasDriver: program.hasPostgresDriver });
  writePrivateJson(paths.config, createHomeserverConfig({ mode, settings, database, port, dataDir, paths }));
  writePrivateJson(paths.logConfig, createLogConfig());
  writePrivateJson(paths.registration, createRegistration(settings));
  const url = `http://127.0.0.1:${port}`;
  const service = createService({
    name,
    command: program.command(paths.config, dataDir),
    logPath: join(logDir, `${name}.log`),
    cwd: dataDir,
    env: createPythonEnv(),
    isReady: () => isSynapseReady(url),
    readyLimitMs: 120_000,
  });
  const { serverName, asToken, registrationSecret } = settings;
  return {
    service,
    url,
    serverName,
    registrationSecret,
    ...(mode === "appservice" ? { asToken } : {}),
    data: database.name === "psycopg2" ? "postgres" : "sqlite",
  };
}

/**
 * @param {string} path
 * @param {string | undefined} wishedName
 * @returns {import("./synapse-config.mjs").SynapseSettings}
 */
function readSettings(path, wishedName) {
  const settings = readJson(path) ?? {
    serverName: wishedName ?? defaultServerName,
    asToken: createSecret(),
    hsToken: createSecret(),
    registrationSecret: createSecret(),
    macaroonSecret: createSecret(),
    formSecret: createSecret(),
  };
  if (wishedName !== undefined && settings.serverName !== wishedName) {
    throw new Fault(
      `this Synapse is named ${settings.serverName} for good, and SYNAPSE_SERVER_NAME is ${wishedName}`,
      {
        exitCode: 2,
        advice: "unset SYNAPSE_SERVER_NAME, or start over with: npm run up -- --fresh",
      },
    );
  }
  writePrivateJson(path, settings);
  return settings;
}

/** @param {string} url */
async function isSynapseReady(url) {
  try {
    const answer = await fetch(new URL("/_matrix/client/versions", url), {
      signal: AbortSignal.timeout(2_000),
    });
    return answer.ok;
  } catch {
    // Not listening yet.
    return false;
  }
}
