import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Unavailable } from "../../machine/fault.mjs";
import { withLock } from "../../machine/lock.mjs";
import { runToEnd } from "../../machine/processes.mjs";
import { enterRoot, makeDebianRoot } from "../../packages/debian-root.mjs";

/**
 * A small Debian unstable root with Synapse in it, for root on a Debian machine whose own Debian has none.
 * @param {{cacheDir: string, log: (line: string) => void}} given
 */
export async function findDebianSynapse({ cacheDir, log }) {
  const root = join(cacheDir, "synapse-debian-psycopg2");
  const stamp = join(root, "complete");
  if (!existsSync(stamp)) {
    await withLock(`${root}.lock`, async () => {
      if (existsSync(stamp)) return;
      await makeDebianRoot({
        root,
        suite: "sid",
        packages: ["matrix-synapse", "python3-psycopg2"],
        label: "synapse",
        cacheDir,
        log,
        finish: recordVersion,
      });
    });
  }
  return {
    version: readFileSync(stamp, "utf8").trim(),
    command: (/** @type {string} */ configPath, /** @type {string} */ stateDir) =>
      enterRoot({
        root,
        binds: [stateDir],
        command: ["python3", "-m", "synapse.app.homeserver", "-c", configPath],
      }),
  };
}

/**
 * Runs the root's Synapse once; its version marks the root as complete.
 * @param {string} root
 */
async function recordVersion(root) {
  const statement = "import psycopg2, synapse; print(synapse.__version__)";
  const { code, output } = await runToEnd(["chroot", root, "python3", "-c", statement]);
  if (code !== 0)
    throw new Unavailable(`the Synapse of the Debian root does not run: ${output.trim().split("\n").at(-1)}`);
  writeFileSync(join(root, "complete"), output.trim());
}
