import { createHash } from "node:crypto";
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Fault } from "../machine/fault.mjs";
import { cachePackages, restoreCachedPackages } from "./package-cache.mjs";
import { withLock } from "../machine/lock.mjs";
import { withProgress } from "../machine/log.mjs";
import { checkoutDir } from "../machine/paths.mjs";
import { runToEnd } from "../machine/processes.mjs";

const lockfile = join(checkoutDir, "package-lock.json");
/** npm writes it last, so it exists when an installation is complete. */
const npmRecord = join(checkoutDir, "node_modules", ".package-lock.json");
const stamp = join(checkoutDir, "node_modules", ".stack-installed");

/**
 * Installs the npm packages of the lockfile unless they are installed.
 * @param {{cacheDir: string, stackDir: string, log: (line: string) => void}} given
 */
export async function ensureDependencies({ cacheDir, stackDir, log }) {
  if (areInstalled()) return;
  await withLock(join(stackDir, "install.lock"), async () => {
    if (areInstalled()) return;
    if (await restoreCachedPackages({ cacheDir, stackDir, log })) return;
    log("npm: installing the packages of package-lock.json");
    const done = await runNpmCi(log);
    if (done.code !== 0) throw describeNpmFailure(done.output);
    writeFileSync(stamp, hashLockfile());
    log("npm: installed");
    await cachePackages({ cacheDir, log });
  });
}

/** @param {(line: string) => void} log */
function runNpmCi(log) {
  let last = "";
  const flags = [
    "--include=dev",
    "--include=optional",
    "--no-audit",
    "--no-fund",
    // `npm run -s` passes its silence on: without this flag, npm prints neither the reason nor the code of a failure.
    "--loglevel=error",
  ];
  const work = runToEnd([...npmCommand(), "ci", ...flags], {
    cwd: checkoutDir,
    onLine: (line) => (last = line.slice(0, 70)),
  });
  return withProgress(log, "npm: ci", work, { detail: () => last });
}

/** The npm that runs us, else the one on PATH. */
export function npmCommand() {
  return process.env.npm_execpath ? [process.execPath, process.env.npm_execpath] : ["npm"];
}

/** @param {string} output */
function describeNpmFailure(output) {
  const errors = output.split("\n").filter((line) => /^npm err/i.test(line));
  return new Fault(`npm failed:\n${(errors.length > 0 ? errors : [output]).slice(0, 12).join("\n")}`, {
    advice: "check that npm reaches its registry, then run this again",
  });
}

function areInstalled() {
  if (!existsSync(npmRecord)) return false;
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === hashLockfile()) return true;
  // Installed by hand after the lockfile was written.
  return statSync(npmRecord).mtimeMs >= statSync(lockfile).mtimeMs;
}

function hashLockfile() {
  return createHash("sha256").update(readFileSync(lockfile)).digest("hex");
}
