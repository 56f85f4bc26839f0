import { existsSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Unavailable } from "../machine/fault.mjs";
import { withLock } from "../machine/lock.mjs";
import { withProgress } from "../machine/log.mjs";
import { isRoot } from "../machine/paths.mjs";
import { runToEnd } from "../machine/processes.mjs";

/** A Debian package runs this program to find out whether it may start its service. */
const servicePolicy = "/usr/sbin/policy-rc.d";

/**
 * Installs Debian packages without starting their services.
 * @param {{packages: string[], cacheDir: string, log: (line: string) => void}} given
 */
export async function installPackages({ packages, cacheDir, log }) {
  if (!existsSync("/usr/bin/apt-get")) throw new Unavailable("this is not a Debian system (no apt-get)");
  if (!isRoot) throw new Unavailable(`apt-get needs root; ask for: apt-get install ${packages.join(" ")}`);
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive", LC_ALL: "C.UTF-8" };
  await withLock(join(cacheDir, "apt.lock"), async () => {
    let last = "";
    const run = (/** @type {string[]} */ command) =>
      runToEnd(command, { env, onLine: (line) => (last = line) });
    const work = async () => {
      const install = [
        "apt-get",
        "install",
        "-y",
        "--no-install-recommends",
        "-o",
        "DPkg::Lock::Timeout=300",
        ...packages,
      ];
      if ((await run(install)).code === 0) return undefined;
      await run(["apt-get", "update", "-o", "DPkg::Lock::Timeout=300"]);
      const second = await run(install);
      return second.code === 0 ? undefined : second.output.trim().split("\n").slice(-3).join(" | ");
    };
    const failure = await withoutServices(() =>
      withProgress(log, `installing ${packages.join(" ")} with apt-get`, work(), { detail: () => last }),
    );
    if (failure !== undefined)
      throw new Unavailable(`apt-get install ${packages.join(" ")} failed: ${failure}`);
  });
}

/**
 * @template T
 * @param {() => Promise<T>} work
 * @returns {Promise<T>}
 */
async function withoutServices(work) {
  if (existsSync(servicePolicy)) return work();
  writeFileSync(servicePolicy, "#!/bin/sh\nexit 101\n", { mode: 0o755 });
  try {
    return await work();
  } finally {
    rmSync(servicePolicy, { force: true });
  }
}
