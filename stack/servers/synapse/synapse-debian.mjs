import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { installPackages } from "../../packages/apt.mjs";
import { withLock } from "../../machine/lock.mjs";
import { withProgress } from "../../machine/log.mjs";
import { isRoot } from "../../machine/paths.mjs";
import { runToEnd } from "../../supervisor/processes.mjs";
import { Unavailable } from "../sources.mjs";

/**
 * A small Debian unstable root with Synapse in it, for root on a Debian machine whose own Debian has none.
 * @param {{cacheDir: string, log: (line: string) => void}} given
 */
export async function findDebianSynapse({ cacheDir, log }) {
  if (!isRoot) throw new Unavailable("a Debian root can be made and entered by root only");
  const root = join(cacheDir, "synapse-debian-psycopg2");
  const stamp = join(root, "complete");
  if (!existsSync(stamp)) {
    await withLock(`${root}.lock`, async () => {
      if (existsSync(stamp)) return;
      await makeRoot({ root, stamp, cacheDir, log });
    });
  }
  return { version: readFileSync(stamp, "utf8").trim(), command: createChrootCommand(root) };
}

/** @param {{root: string, stamp: string, cacheDir: string, log: (line: string) => void}} given */
async function makeRoot({ root, stamp, cacheDir, log }) {
  await installPackages({ packages: ["mmdebstrap"], cacheDir, log });
  const mirror = await findMirror();
  const temporary = `${root}.new`;
  for (const folder of [temporary, root]) rmSync(folder, { recursive: true, force: true });
  let last = "";
  const command = [
    "mmdebstrap",
    "--variant=apt",
    "--include=matrix-synapse,python3-psycopg2",
    '--aptopt=APT::Install-Recommends "false"',
    // The mirror may be a frozen one, older than this machine's date allows.
    '--aptopt=Acquire::Check-Valid-Until "false"',
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "sid",
    temporary,
    mirror,
  ];
  const work = runToEnd(command, { onLine: (line) => (last = line.slice(0, 70)) });
  const { code, output } = await withProgress(log, "synapse: making a Debian root", work, {
    detail: () => last,
  });
  if (code !== 0) throw new Unavailable(`mmdebstrap failed: ${output.trim().split("\n").at(-1)}`);
  const version = await runToEnd([
    "chroot",
    temporary,
    "python3",
    "-c",
    "import psycopg2, synapse; print(synapse.__version__)",
  ]);
  if (version.code !== 0)
    throw new Unavailable(
      `the Synapse of the Debian root does not run: ${version.output.trim().split("\n").at(-1)}`,
    );
  renameSync(temporary, root);
  writeFileSync(stamp, version.output.trim());
}

/** The mirror that this machine's own apt uses for Debian itself. */
async function findMirror() {
  const { output } = await runToEnd([
    "apt-get",
    "indextargets",
    "--format",
    "$(ORIGIN) $(LABEL) $(SITE) $(REPO_URI)",
    "Created-By: Packages",
  ]);
  const lines = output.split("\n").map((line) => line.split(" "));
  const found = lines.find(([origin, label]) => origin === "Debian" && label === "Debian")?.at(-1);
  if (found === undefined)
    throw new Unavailable("apt knows no Debian mirror (is this Debian? then run: apt-get update)");
  return found;
}

/**
 * Enters the root with this machine's /proc and /dev and the state folder at its own path. The mounts are in a
 * namespace of their own, so they end with the process.
 * @param {string} root
 */
function createChrootCommand(root) {
  const script = [
    'root="$0" state="$1" config="$2"',
    'mkdir -p "$root$state"',
    'mount --bind /proc "$root/proc"',
    'mount --rbind /dev "$root/dev"',
    'mount --bind "$state" "$root$state"',
    'exec chroot "$root" python3 -m synapse.app.homeserver -c "$config"',
  ].join(" && ");
  return (/** @type {string} */ configPath, /** @type {string} */ stateDir) => [
    "unshare",
    "--mount",
    "--propagation",
    "private",
    "sh",
    "-c",
    script,
    root,
    stateDir,
    configPath,
  ];
}
