import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { withLock } from "../machine/lock.mjs";
import { checkoutDir, removeFolder } from "../machine/paths.mjs";
import { runToEnd } from "../machine/processes.mjs";

const prefix = "packages-";
/** Cached installations: of this lockfile, and of the one before. */
const maxKept = 2;
const modules = join(checkoutDir, "node_modules");

/**
 * Copies the packages of this lockfile as npm installed them in another checkout. A copy takes a second, npm half a
 * minute. Returns whether there was a copy.
 * @param {{cacheDir: string, stackDir: string, log: (line: string) => void}} given
 */
export async function restoreCachedPackages({ cacheDir, stackDir, log }) {
  const kept = findFolder(cacheDir);
  if (!isComplete(kept)) return false;
  // No tool reads this folder, so an interrupted copy does no harm.
  const part = join(stackDir, "node_modules.part");
  removeFolder(part);
  // Checked again: another checkout may have removed it during the copy.
  if (!(await copyTree(join(kept, "node_modules"), part)) || !isComplete(kept)) {
    removeFolder(part);
    log(`npm: the packages in ${kept} cannot be copied`);
    return false;
  }
  removeFolder(modules);
  renameSync(part, modules);
  log(`npm: packages copied from ${kept}`);
  return true;
}

/**
 * Copies the installed packages to the cache for the next checkout. A failure, such as a full disk, is logged: this
 * checkout has its packages, and npm installs them again in the next one.
 * @param {{cacheDir: string, log: (line: string) => void}} given
 */
export async function cachePackages({ cacheDir, log }) {
  const kept = findFolder(cacheDir);
  try {
    await withLock(`${kept}.lock`, async () => {
      if (isComplete(kept)) return;
      removeKept(kept);
      mkdirSync(kept, { recursive: true });
      if (await copyTree(modules, join(kept, "node_modules"))) writeFileSync(markOf(kept), "");
      else {
        removeKept(kept);
        log(`npm: the packages cannot be copied to ${kept}`);
      }
      removeOld(cacheDir);
    });
  } catch (error) {
    log(`npm: the packages cannot be kept in ${kept}: ${String(error)}`);
  }
}

/**
 * Some packages hold programs for one kind of machine and one version of Node.
 * @param {string} cacheDir
 */
function findFolder(cacheDir) {
  const lockfile = readFileSync(join(checkoutDir, "package-lock.json"));
  const machine = [process.platform, process.arch, process.versions.modules].join(" ");
  return join(
    cacheDir,
    `${prefix}${createHash("sha256").update(lockfile).update(machine).digest("hex").slice(0, 12)}`,
  );
}

/**
 * @param {string} from
 * @param {string} to
 */
async function copyTree(from, to) {
  const { code } = await runToEnd(["cp", "-a", from, to]);
  return code === 0;
}

/** @param {string} cacheDir */
function removeOld(cacheDir) {
  const ages = readdirSync(cacheDir)
    .filter((name) => name.startsWith(prefix) && isComplete(join(cacheDir, name)))
    .map((name) => ({ name, atMs: statSync(markOf(join(cacheDir, name))).mtimeMs }))
    .sort((a, b) => b.atMs - a.atMs);
  for (const { name } of ages.slice(maxKept)) removeKept(join(cacheDir, name));
}

/** @param {string} kept */
function markOf(kept) {
  return join(kept, "complete");
}

/** @param {string} kept */
function isComplete(kept) {
  return existsSync(markOf(kept));
}

/**
 * Removes the mark first, so that no checkout copies a folder that is half removed.
 * @param {string} kept
 */
function removeKept(kept) {
  removeFolder(markOf(kept));
  removeFolder(kept);
}
