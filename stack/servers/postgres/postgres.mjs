import { chownSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ensureServerAccount } from "./account.mjs";
import { Fault, Unavailable } from "../../machine/fault.mjs";
import { createSecret, readJson, writePrivateJson } from "../../machine/files.mjs";
import { findEmbeddedPostgres, findSystemPostgres, installSystemPostgres } from "./postgres-binaries.mjs";
import { isPostgresReady } from "./postgres-probe.mjs";
import { runToEnd } from "../../machine/processes.mjs";
import { createService } from "../../supervisor/service.mjs";
import { chooseSource } from "../sources.mjs";
import { mayUsePostgres } from "../synapse/synapse-data.mjs";

const user = "openmeet";
const database = "openmeet";
/** Synapse's role, and its database. */
const synapse = "synapse";

/**
 * A running Postgres named by its URL, or the programs to start one.
 * @param {{env: NodeJS.ProcessEnv, cacheDir: string, log: (line: string) => void}} given
 * @returns {Promise<{url: string} | {binDir: string, major: number}>}
 */
export function choosePostgres({ env, cacheDir, log }) {
  return chooseSource({
    server: "postgres",
    env,
    log,
    sources: {
      url: () => checkUrl(env.DATABASE_URL),
      embedded: () => findEmbeddedPostgres({ cacheDir, log }),
      system: () => findSystemPostgres(),
      apt: () => installSystemPostgres({ cacheDir, log }),
    },
  });
}

/** @param {string | undefined} text */
async function checkUrl(text) {
  if (!text) throw new Unavailable("DATABASE_URL is not set");
  if (!URL.canParse(text))
    throw new Fault("DATABASE_URL is not a URL", {
      exitCode: 2,
      advice: "write postgres://USER:PASSWORD@HOST:PORT/DATABASE",
    });
  const url = new URL(text);
  const port = Number(url.port || 5_432);
  if (!(await isPostgresReady({ host: url.hostname, port }))) {
    throw new Fault(`no Postgres answers at ${url.hostname}:${port}`, {
      advice: "start it, or unset DATABASE_URL to have one started",
    });
  }
  return { text: `DATABASE_URL at ${url.hostname}:${port}`, value: { url: text } };
}

/**
 * A Postgres of our own on a port of 127.0.0.1, its data below the state folder.
 * @param {{binDir: string, major: number, stateDir: string, logDir: string, port: number, durable: boolean, env: NodeJS.ProcessEnv}} given
 *   `durable: false` leaves out waiting for the disk: for data that is thrown away
 */
export async function createPostgres({ binDir, major, stateDir, logDir, port, durable, env }) {
  const account = await ensureServerAccount();
  const dataDir = join(stateDir, "postgres");
  const settingsPath = join(stateDir, "postgres.json");
  refuseOtherMajor(dataDir, major);
  if (!existsSync(dataDir) || !existsSync(settingsPath))
    await initialise({ binDir, dataDir, account, settingsPath });
  /** @type {{password: string, synapsePassword?: string}} */
  const { password, ...kept } = readJson(settingsPath);
  const synapsePassword =
    kept.synapsePassword ??
    (mayUsePostgres({ env, durable })
      ? await addSynapseDatabase({ binDir, dataDir, account, settingsPath })
      : undefined);
  const settings = {
    listen_addresses: "127.0.0.1",
    port: String(port),
    unix_socket_directories: "",
    max_connections: "200",
    timezone: "UTC",
    log_timezone: "UTC",
    ...(durable ? {} : { fsync: "off", synchronous_commit: "off", full_page_writes: "off" }),
  };
  const flags = Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
  const service = createService({
    name: "postgres",
    command: [join(binDir, "postgres"), "-D", dataDir, ...flags],
    logPath: join(logDir, "postgres.log"),
    cwd: dataDir,
    env: { PATH: process.env.PATH, LC_ALL: "C" },
    ...(account ? { uid: account.uid, gid: account.gid } : {}),
    stopSignal: "SIGINT", // fast: it does not wait for its clients
    isReady: () => isPostgresReady({ host: "127.0.0.1", port }),
    readyLimitMs: 60_000,
  });
  return {
    service,
    url: `postgres://${user}:${password}@127.0.0.1:${port}/${database}`,
    ...(synapsePassword === undefined
      ? {}
      : {
          forSynapse: { host: "127.0.0.1", port, user: synapse, password: synapsePassword, dbname: synapse },
        }),
  };
}

/**
 * Makes the data folder whole or not at all.
 * @param {{binDir: string, dataDir: string, account: {uid: number, gid: number} | undefined, settingsPath: string}} given
 */
async function initialise({ binDir, dataDir, account, settingsPath }) {
  const password = createSecret();
  const temporary = `${dataDir}.new`;
  const passwordPath = `${dataDir}.password`;
  for (const path of [temporary, dataDir, passwordPath]) rmSync(path, { recursive: true, force: true });
  mkdirSync(temporary, { mode: 0o700 });
  writeFileSync(passwordPath, password, { mode: 0o600 });
  if (account) for (const path of [temporary, passwordPath]) chownSync(path, account.uid, account.gid);
  await runAs(account, temporary, [
    join(binDir, "initdb"),
    "-D",
    temporary,
    "-U",
    user,
    `--pwfile=${passwordPath}`,
    "--auth=scram-sha-256",
    "--encoding=UTF8",
    "--locale=C",
    "--no-sync",
  ]);
  rmSync(passwordPath);
  await runStatements({ binDir, dataDir: temporary, account }, [`CREATE DATABASE ${database}`]);
  renameSync(temporary, dataDir);
  writePrivateJson(settingsPath, { password });
}

/**
 * Makes a role and a database for Synapse while the server is stopped. Synapse's role cannot enter our database. Ours may,
 * since it owns the server. Returns the password.
 * @param {{binDir: string, dataDir: string, account: {uid: number, gid: number} | undefined, settingsPath: string}} given
 */
async function addSynapseDatabase({ binDir, dataDir, account, settingsPath }) {
  const synapsePassword = createSecret();
  await runStatements({ binDir, dataDir, account }, [
    // Left by a start that was killed here.
    `DROP DATABASE IF EXISTS ${synapse}`,
    `DROP ROLE IF EXISTS ${synapse}`,
    `CREATE ROLE ${synapse} LOGIN PASSWORD '${synapsePassword}'`,
    `CREATE DATABASE ${synapse} OWNER ${synapse} TEMPLATE template0`,
    `REVOKE CONNECT ON DATABASE ${database}, ${synapse} FROM PUBLIC`,
  ]);
  writePrivateJson(settingsPath, { ...readJson(settingsPath), synapsePassword });
  return synapsePassword;
}

/**
 * Runs statements in a single-user Postgres, which ends after them.
 * @param {{binDir: string, dataDir: string, account: {uid: number, gid: number} | undefined}} where
 * @param {string[]} statements
 */
function runStatements({ binDir, dataDir, account }, statements) {
  const command = [join(binDir, "postgres"), "--single", "-D", dataDir, "postgres"];
  return runAs(account, dataDir, command, statements.map((statement) => `${statement};\n`).join(""));
}

/**
 * @param {{uid: number, gid: number} | undefined} account
 * @param {string} cwd
 * @param {string[]} command
 * @param {string} [input]
 */
async function runAs(account, cwd, command, input = "") {
  const { code, output } = await runToEnd(command, {
    cwd,
    env: { PATH: process.env.PATH, LC_ALL: "C" },
    ...(account ? { uid: account.uid, gid: account.gid } : {}),
    input,
  });
  // A single-user Postgres goes on after a statement that failed, and ends with 0.
  if (code !== 0 || /\bERROR:/.test(output))
    throw new Fault(`${command[0]} failed:\n${output.trim()}`, {
      advice: "check that the disk has space, or choose another source with STACK_POSTGRES",
    });
}

/**
 * @param {string} dataDir
 * @param {number} major
 */
function refuseOtherMajor(dataDir, major) {
  const versionPath = join(dataDir, "PG_VERSION");
  const made = existsSync(versionPath) ? Number.parseInt(readFileSync(versionPath, "utf8"), 10) : major;
  if (made === major) return;
  throw new Fault(`the data in ${dataDir} was made by Postgres ${made}, and the chosen one is ${major}`, {
    advice: "choose the former source with STACK_POSTGRES, or start over with: npm run up -- --fresh",
  });
}
