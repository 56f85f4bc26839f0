import { chmodSync, mkdirSync, readdirSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { readJson, writePrivateJson } from "../machine/files.mjs";
import { isRoot, openPaths, removeFolder } from "../machine/paths.mjs";
import { isRecordAlive, recordProcess } from "../machine/processes.mjs";
import { startServers } from "./servers.mjs";

const prefix = "openmeet-chat-test-";

/** The caller's variables that name servers or configure the product. Tests have their own. */
const callersVariables =
  /^(?!PIP_|npm_|NPM_).*_URL$|^(SYNAPSE|STACK_TEST)_|^(STACK_SYNAPSE_DATA|MATRIX_MODE|TRANSPORT|SEAL_KEYS|(API|REALTIME|JOBS|SYNC)_PORT|REALTIME_PROCESSES|ALLOWED_ORIGINS)$/;

/**
 * The environment without the servers that it names.
 * @param {NodeJS.ProcessEnv} env
 * @returns {NodeJS.ProcessEnv}
 */
export function withoutServers(env) {
  return Object.fromEntries(
    Object.entries(env).filter(
      ([name, value]) => !callersVariables.test(name) && !(/^STACK_/.test(name) && value === "url"),
    ),
  );
}

/**
 * Servers on free ports with their data in a temporary folder, which is removed when they stop.
 * @param {Partial<import("./servers.mjs").ServersOptions>} [options] appservice mode, no log and all three servers by default
 */
export async function startThrowAwayServers(options = {}) {
  const stateDir = makeTemporaryFolder();
  try {
    const servers = await startServers({
      cacheDir: openPaths().cacheDir,
      mode: "appservice",
      log: () => undefined,
      env: withoutServers(process.env),
      durable: false,
      ...options,
      stateDir,
    });
    const stop = async () => {
      await servers.stop();
      removeFolder(stateDir);
    };
    return {
      ...servers,
      get pids() {
        return servers.pids;
      },
      stop,
    };
  } catch (error) {
    removeFolder(stateDir);
    throw error;
  }
}

/**
 * A Synapse with its own default limits and no Application Service, for the tests of the mode `admin`.
 * @param {Partial<import("./servers.mjs").ServersOptions>} [options]
 */
export function startAdminSynapse(options = {}) {
  return startThrowAwayServers({ ...options, mode: "admin", only: ["synapse"] });
}

/**
 * A new temporary folder that every user may pass through: root's Postgres runs as another user. Folders whose maker
 * was killed before it could remove them are removed.
 */
export function makeTemporaryFolder() {
  const parent = [tmpdir(), "/tmp", "/var/tmp"].find((folder) => !isRoot || isPassable(folder)) ?? tmpdir();
  for (const name of readdirSync(parent)) {
    if (name.startsWith(prefix)) removeAbandoned(join(parent, name));
  }
  const folder = join(
    parent,
    `${prefix}${process.pid}-${Date.now().toString(36)}${Math.random().toString(36).slice(2, 6)}`,
  );
  mkdirSync(folder);
  chmodSync(folder, 0o711);
  writePrivateJson(join(folder, "owner.json"), recordProcess(process.pid));
  return folder;
}

/** @param {string} folder */
function removeAbandoned(folder) {
  try {
    const owner = readJson(join(folder, "owner.json"));
    if (owner !== undefined && !isRecordAlive(owner)) removeFolder(folder);
  } catch {
    // Another user's, or another run removes it at this moment.
  }
}

/**
 * Whether any user may pass through a folder and all above it.
 * @param {string} folder
 * @returns {boolean}
 */
function isPassable(folder) {
  const status = statSync(folder, { throwIfNoEntry: false });
  if (status === undefined || (status.mode & 0o001) === 0) return false;
  return dirname(folder) === folder || isPassable(dirname(folder));
}
