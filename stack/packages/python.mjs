import { createHash } from "node:crypto";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { Unavailable } from "../machine/fault.mjs";
import { withLock } from "../machine/lock.mjs";
import { withProgress } from "../machine/log.mjs";
import { runToEnd } from "../machine/processes.mjs";

const requirementsDir = join(dirname(fileURLToPath(import.meta.url)), "requirements");
const candidates = ["python3", "python3.14", "python3.13", "python3.12", "python3.11", "python3.10"];

/** Variables that change which modules a program finds, or where pip installs them. */
const redirectingVariables = [
  "PYTHONPATH",
  "PYTHONHOME",
  "VIRTUAL_ENV",
  "__PYVENV_LAUNCHER__",
  "PIP_USER",
  "PIP_TARGET",
  "PIP_PREFIX",
  "PIP_ROOT",
];

/** The environment without the variables that redirect Python or pip. */
export function createPythonEnv() {
  return Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !redirectingVariables.includes(name)),
  );
}

/** Finds a Python that is new enough. `PYTHON` names one to try first. */
async function findPython() {
  for (const name of [process.env.PYTHON, ...candidates]) {
    if (!name) continue;
    const probe = "import sys; print(sys.version_info >= (3, 10), sys.version.split()[0], sys.executable)";
    const { code, output } = await runToEnd([name, "-c", probe], { env: createPythonEnv() });
    const [newEnough, version, path] = output.trim().split(" ");
    if (code === 0 && newEnough === "True" && path) return { path, version };
  }
  throw new Unavailable(
    "no Python of version 3.10 or newer; install python3 and python3-venv, or name one with PYTHON",
  );
}

/**
 * A virtual environment with the packages of a file of `requirements/`, made once and kept in the cache.
 * @param {{name: string, loose: string[], check: string, cacheDir: string, log: (line: string) => void}} given
 *   `requirements/<name>.txt` is the lock; `loose` is installed when this Python or mirror cannot satisfy the lock;
 *   `check` is a statement that fails when the installed packages do not run here
 * @returns {Promise<{python: string, dir: string}>}
 */
export async function ensureVenv({ name, loose, check, cacheDir, log }) {
  const base = await findPython();
  const lockPath = join(requirementsDir, `${name}.txt`);
  const key = createHash("sha256")
    .update(`${base.path} ${base.version}\n${readFileSync(lockPath, "utf8")}`)
    .digest("hex")
    .slice(0, 12);
  const dir = join(cacheDir, `${name}-${key}`);
  const venv = { python: join(dir, "bin", "python"), dir };
  const stamp = join(dir, "complete");
  const isComplete = () => existsSync(stamp) && existsSync(venv.python);
  if (isComplete()) return venv;
  const onWait = () => log(`${name}: another run is installing it; waiting`);
  await withLock(
    `${dir}.lock`,
    async () => {
      if (isComplete()) return;
      rmSync(dir, { recursive: true, force: true });
      log(`${name}: installing ${loose.join(" ")} from the Python package index for Python ${base.version}`);
      const pip = await createVenv(base.path, dir);
      await installInto({ pip, name, lockPath, loose, log });
      await refuseUnlessRuns([venv.python, "-c", check], `what pip installed in ${dir} does not run here`);
      writeFileSync(stamp, "");
    },
    { onWait },
  );
  return venv;
}

/**
 * Makes the empty environment and returns the pip that installs into it: its own, or the system's where Debian
 * has no ensurepip.
 * @param {string} python
 * @param {string} dir
 */
async function createVenv(python, dir) {
  const env = createPythonEnv();
  const own = join(dir, "bin", "python");
  if ((await runToEnd([python, "-m", "venv", dir], { env })).code === 0) return [own, "-m", "pip"];
  rmSync(dir, { recursive: true, force: true });
  const bare = await runToEnd([python, "-m", "venv", "--without-pip", dir], { env });
  const system = [python, "-m", "pip", "--python", own];
  if (bare.code === 0 && (await runToEnd([...system, "--version"], { env })).code === 0) return system;
  rmSync(dir, { recursive: true, force: true });
  throw new Unavailable(
    `${basename(python)} cannot make a virtual environment; install python3-venv (or python3-pip)`,
  );
}

/** @param {{pip: string[], name: string, lockPath: string, loose: string[], log: (line: string) => void}} given */
async function installInto({ pip, name, lockPath, loose, log }) {
  let last = "";
  const install = (/** @type {string[]} */ what) => {
    const flags = [
      "install",
      "--disable-pip-version-check",
      "--no-input",
      "--progress-bar",
      "off",
      "--prefer-binary",
    ];
    const work = runToEnd([...pip, ...flags, ...what], {
      env: createPythonEnv(),
      onLine: (line) => (last = line.slice(0, 70)),
    });
    return withProgress(log, `${name}: pip`, work, { detail: () => last });
  };
  const locked = await install(["-r", lockPath]);
  if (locked.code === 0) return;
  log(
    `${name}: the pinned set cannot be installed (${lastError(locked.output)}); trying ${loose.join(" ")} with what fits`,
  );
  const free = await install(loose);
  if (free.code !== 0)
    throw new Unavailable(`pip install ${loose.join(" ")} failed: ${lastError(free.output)}`);
}

/** @param {string} output */
function lastError(output) {
  const lines = output.trim().split("\n");
  return (lines.findLast((line) => line.startsWith("ERROR")) ?? lines.at(-1) ?? "").slice(0, 200);
}

/**
 * @param {string[]} command
 * @param {string} what
 */
export async function refuseUnlessRuns(command, what) {
  const { code, output } = await runToEnd(command, { env: createPythonEnv() });
  if (code !== 0) throw new Unavailable(`${what}: ${output.trim().split("\n").at(-1) ?? ""}`);
  return output.trim();
}
