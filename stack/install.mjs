import { createHash } from "node:crypto";
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Fault } from "./fault.mjs";
import { withLock } from "./lock.mjs";
import { withProgress } from "./log.mjs";
import { checkoutDir } from "./places.mjs";
import { runToEnd } from "./processes.mjs";

const lockfile = join(checkoutDir, "package-lock.json");
/** npm writes it last, so it is there when an installation came to its end. */
const npmRecord = join(checkoutDir, "node_modules", ".package-lock.json");
const stamp = join(checkoutDir, "node_modules", ".stack-installed");

/**
 * Installs the npm packages of the lockfile, unless they are there.
 * @param {{stackDir: string, log: (line: string) => void}} given
 */
export async function ensureDependencies({ stackDir, log }) {
  if (areInstalled()) return;
  await withLock(join(stackDir, "install.lock"), async () => {
    if (areInstalled()) return;
    log("npm: installing the packages of package-lock.json");
    let last = "";
    const npm = process.env.npm_execpath ? [process.execPath, process.env.npm_execpath] : ["npm"];
    const command = [...npm, "ci", "--include=dev", "--include=optional", "--no-audit", "--no-fund"];
    const work = runToEnd(command, { cwd: checkoutDir, onLine: (line) => (last = line.slice(0, 70)) });
    const { code, output } = await withProgress(log, "npm: ci", work, { detail: () => last });
    if (code !== 0) {
      const end = output.trim().split("\n").slice(-12).join("\n");
      throw new Fault(`npm ci failed:\n${end}`, {
        advice: "check that npm reaches its registry, then run this again",
      });
    }
    writeFileSync(stamp, hashLockfile());
    log("npm: installed");
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
