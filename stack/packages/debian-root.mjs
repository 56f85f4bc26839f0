import { renameSync, rmSync } from "node:fs";
import { Unavailable } from "../machine/fault.mjs";
import { withProgress } from "../machine/log.mjs";
import { isRoot } from "../machine/paths.mjs";
import { runToEnd } from "../machine/processes.mjs";
import { installPackages } from "./apt.mjs";

/**
 * Makes a small Debian root, complete or not at all. Root of a Debian machine can do it.
 * @param {{root: string, suite: string, packages: string[], label: string, cacheDir: string, log: (line: string) => void, finish?: (root: string) => Promise<void>}} given
 *   `finish` completes the root before it gets its name
 */
export async function makeDebianRoot({ root, suite, packages, label, cacheDir, log, finish }) {
  if (!isRoot) throw new Unavailable("only root can make and enter a Debian root");
  await installPackages({ packages: ["mmdebstrap"], cacheDir, log });
  const mirror = await findMirror();
  const temporary = `${root}.new`;
  for (const folder of [temporary, root]) rmSync(folder, { recursive: true, force: true });
  let last = "";
  const command = [
    "mmdebstrap",
    "--variant=apt",
    ...(packages.length > 0 ? [`--include=${packages.join(",")}`] : []),
    '--aptopt=APT::Install-Recommends "false"',
    // The mirror may be a frozen one, older than this machine's date allows.
    '--aptopt=Acquire::Check-Valid-Until "false"',
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    suite,
    temporary,
    mirror,
  ];
  const work = runToEnd(command, { onLine: (line) => (last = line.slice(0, 70)) });
  const { code, output } = await withProgress(log, `${label}: making a Debian root`, work, {
    detail: () => last,
  });
  if (code !== 0) throw new Unavailable(`mmdebstrap failed: ${output.trim().split("\n").at(-1)}`);
  await finish?.(temporary);
  renameSync(temporary, root);
}

/** The mirror from which this machine's own apt takes Debian. */
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
 * The command line that runs a program in a root, with this machine's /proc, /dev and some folders at their own paths.
 * The mounts are in a namespace of their own, so they end with the process.
 * @param {{root: string, binds?: string[], cwd?: string, user?: string, command: string[]}} given
 */
export function enterRoot({ root, binds = [], cwd = "/", user = "root", command }) {
  const script = [
    'root="$1" cwd="$2" user="$3" binds="$4"; shift 4',
    'mount --bind /proc "$root/proc"',
    'mount --rbind /dev "$root/dev"',
    'for dir in $binds; do mkdir -p "$root$dir" && mount --bind "$dir" "$root$dir" || exit 1; done',
    'exec chroot --userspec="$user" "$root" env --chdir="$cwd" -- "$@"',
  ].join(" && ");
  const mounts = ["unshare", "--mount", "--propagation", "private"];
  return [...mounts, "sh", "-c", script, "sh", root, cwd, user, binds.join(" "), ...command];
}
