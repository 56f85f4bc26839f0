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
import { withLock } from "./lock.mjs";
import { checkoutDir, removeFolder } from "./places.mjs";
import { runToEnd } from "./processes.mjs";

const prefix = "packages-";
/** Installations that are kept: of this lockfile, and of the one that was used before. */
const keptAtMost = 2;
const modules = join(checkoutDir, "node_modules");

/**
 * Takes the packages of this lockfile as npm installed them in another checkout: a copy takes a second, npm half a
 * minute. Answers whether they were there.
 * @param {{cacheDir: string, log: (line: string) => void}} given
 */
export async function takeKeptPackages({ cacheDir, log }) {
  const kept = findFolder(cacheDir);
  if (!existsSync(join(kept, "complete"))) return false;
  const part = `${modules}.part`;
  removeFolder(part);
  if (!(await copyTree(join(kept, "node_modules"), part))) {
    removeFolder(part);
    return false;
  }
  removeFolder(modules);
  renameSync(part, modules);
  log(`npm: packages copied from ${kept}`);
  return true;
}

/**
 * Keeps what npm has just installed for the next checkout; where there is no room for it, it is installed again there.
 * @param {{cacheDir: string}} given
 */
export async function keepPackages({ cacheDir }) {
  const kept = findFolder(cacheDir);
  await withLock(`${kept}.lock`, async () => {
    if (existsSync(join(kept, "complete"))) return;
    removeFolder(kept);
    mkdirSync(kept, { recursive: true });
    if (await copyTree(modules, join(kept, "node_modules"))) writeFileSync(join(kept, "complete"), "");
    else removeFolder(kept);
    removeOld(cacheDir);
  });
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
    .filter((name) => name.startsWith(prefix) && existsSync(join(cacheDir, name, "complete")))
    .map((name) => ({ name, atMs: statSync(join(cacheDir, name, "complete")).mtimeMs }))
    .sort((a, b) => b.atMs - a.atMs);
  for (const { name } of ages.slice(keptAtMost)) removeFolder(join(cacheDir, name));
}
