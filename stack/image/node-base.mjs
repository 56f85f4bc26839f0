import { appendFileSync, cpSync, existsSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Fault } from "../machine/fault.mjs";
import { withLock } from "../machine/lock.mjs";
import { runToEnd } from "../machine/processes.mjs";
import { makeDebianRoot } from "../packages/debian-root.mjs";
import { npmCommand } from "../packages/install.mjs";

/** The npm that Node's own image of this major brings. */
const npmMajor = 11;

/**
 * A Debian root like the image `node:<major>-<suite>-slim`: Node and npm in /usr/local, and the user `node`. Node comes
 * from npm's registry, so no registry of images is needed.
 * @param {{image: string, cacheDir: string, log: (line: string) => void}} given
 * @returns {Promise<string>} the root; it stays in the cache, so it is copied before it is changed
 */
export async function ensureNodeBase({ image, cacheDir, log }) {
  const [, major, suite] = /^node:(\d+)-([a-z]+)-slim$/.exec(image) ?? [];
  if (major === undefined || suite === undefined)
    throw new Fault(`this check can make no root like ${image}`, {
      advice: "it knows node:<major>-<suite>-slim",
    });
  const root = join(cacheDir, `node-${major}-${suite}`);
  await withLock(`${root}.lock`, async () => {
    if (existsSync(root)) return;
    const finish = (/** @type {string} */ made) => installNode({ root: made, major, log });
    await makeDebianRoot({ root, suite, packages: [], label: image, cacheDir, log, finish });
  });
  return root;
}

/** @param {{root: string, major: string, log: (line: string) => void}} given */
async function installNode({ root, major, log }) {
  const node = `node-${process.platform}-${process.arch}`;
  const folder = join(root, "var/tmp/node");
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "package.json"), '{ "private": true }');
  log(`npm: installing ${node}@${major} and npm@${npmMajor} into the root`);
  const { code, output } = await runToEnd(
    [...npmCommand(), "install", "--no-audit", "--no-fund", `${node}@${major}`, `npm@${npmMajor}`],
    { cwd: folder },
  );
  if (code !== 0) throw new Fault(`npm installs no Node ${major}:\n${output.trim()}`);
  const local = join(root, "usr/local");
  cpSync(join(folder, "node_modules", node, "bin/node"), join(local, "bin/node"));
  cpSync(join(folder, "node_modules/npm"), join(local, "lib/node_modules/npm"), { recursive: true });
  symlinkSync("../lib/node_modules/npm/bin/npm-cli.js", join(local, "bin/npm"));
  rmSync(folder, { recursive: true });
  appendFileSync(join(root, "etc/passwd"), "node:x:1000:1000::/home/node:/bin/bash\n");
  appendFileSync(join(root, "etc/group"), "node:x:1000:\n");
  mkdirSync(join(root, "home/node"), { recursive: true });
}
