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
/** Installations that are kept: of this lockfile, and of the one that was used before. */
const keptAtMost = 2;
const modules = join(checkoutDir, "node_modules");

/**
 * Takes the packages of this lockfile as npm installed them in another checkout: a copy takes a second, npm half a
 * minute. Answers whether they were there.
 * @param {{cacheDir: string, stackDir: string, log: (line: string) => void}} given
 */
export async function restoreCachedPackages({ cacheDir, stackDir, log }) {
  const kept = findFolder(cacheDir);
  if (!isComplete(kept)) return false;
  // Where no tool of the checkout looks, should this end in the middle.
  const part = join(stackDir, "node_modules.part");
  removeFolder(part);
  // Complete still: another checkout may remove it meanwhile.
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
 * Keeps what npm has just installed for the next checkout. Where that fails, as on a full disk, it says so: this
 * checkout has its packages all the same, and npm installs them again in the next.
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
 * Programs among the packages are made for one kind of machine and of Node.
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
  for (const { name } of ages.slice(keptAtMost)) removeKept(join(cacheDir, name));
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
 * First the mark, so that nobody takes what is half gone for whole.
 * @param {string} kept
 */
function removeKept(kept) {
  removeFolder(markOf(kept));
  removeFolder(kept);
}
