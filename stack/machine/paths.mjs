import { createHash } from "node:crypto";
import { accessSync, chmodSync, constants, mkdirSync, realpathSync, rmSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { Fault } from "./fault.mjs";

const application = "openmeet-chat";

/** The folder of this checkout. */
export const checkoutDir = realpathSync(join(dirname(fileURLToPath(import.meta.url)), "../.."));

export const isRoot = process.getuid?.() === 0;

/**
 * Where downloads are kept and where this checkout's data lives. Root's Postgres runs as another user, who may not
 * enter the checkout, so root uses the system's folders.
 * @param {{root: boolean, checkout: string, home: string, env: NodeJS.ProcessEnv}} given
 */
export function resolvePaths({ root, checkout, home, env }) {
  const id = createHash("sha256").update(checkout).digest("hex").slice(0, 12);
  const cache = root ? "/var/cache" : env.XDG_CACHE_HOME || join(home, ".cache");
  const state = root ? "/var/lib" : env.XDG_STATE_HOME || join(home, ".local", "state");
  return {
    cacheDir: join(cache, application),
    stateDir: join(state, application, id),
    /** Keys, pids and logs for the person and the tools: in the checkout. */
    stackDir: join(checkout, ".stack"),
  };
}

/** Makes this checkout's folders and returns them. */
export function openPaths() {
  const paths = resolvePaths({ root: isRoot, checkout: checkoutDir, home: homedir(), env: process.env });
  for (const folder of [paths.cacheDir, paths.stateDir, paths.stackDir]) ensureFolder(folder);
  // Root's Postgres runs as another user, who passes through this folder. Each file in it has a mode of its own.
  chmodSync(paths.stateDir, 0o711);
  return paths;
}

/** @param {string} folder */
function ensureFolder(folder) {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o755 });
    accessSync(folder, constants.W_OK);
  } catch (cause) {
    throw new Fault(`the folder ${folder} cannot be written`, {
      cause,
      advice: "make it writable, or name other folders with XDG_CACHE_HOME and XDG_STATE_HOME",
    });
  }
}

/** @param {string} folder */
export function removeFolder(folder) {
  rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
}
