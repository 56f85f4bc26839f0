import { existsSync, readFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { Unavailable } from "../../machine/fault.mjs";
import { findDebianSynapse } from "./synapse-debian.mjs";
import { createPythonEnv, ensureVenv } from "../../packages/python.mjs";
import { runToEnd } from "../../machine/processes.mjs";

const pinned = "1.163.2";
const oldest = { major: 1, minor: 150 };
const homeserver = ["-m", "synapse.app.homeserver"];
const check =
  "import importlib.util as u, synapse.app.homeserver, synapse; print(synapse.__version__, bool(u.find_spec('psycopg2')))";

/**
 * How a Synapse is run.
 * @typedef {object} SynapseProgram
 * @property {(configPath: string, stateDir: string) => string[]} command
 * @property {boolean} hasPostgresDriver
 */

/** @param {{cacheDir: string, log: (line: string) => void}} given */
export async function findEmbeddedSynapse({ cacheDir, log }) {
  const venv = await ensureVenv({
    name: "synapse",
    loose: [`matrix-synapse==${pinned}`, "psycopg2-binary"],
    check: `${check}; import psycopg2`,
    cacheDir,
    log,
  });
  return { text: `Synapse ${pinned} (${venv.dir})`, value: runWith([venv.python, ...homeserver], true) };
}

/** The system's own Synapse: as a module of its Python, or as a program whose first line names its Python. */
export async function findSystemSynapse() {
  const refusals = [];
  for (const python of listSystemPythons()) {
    const { code, output } = await runToEnd([python, "-c", check], { env: createPythonEnv() });
    const [version = "", hasDriver] = output.trim().split("\n").at(-1)?.split(" ") ?? [];
    if (code !== 0) continue;
    const [major = 0, minor = 0] = version.split(".").map((part) => Number.parseInt(part, 10));
    if (major > oldest.major || (major === oldest.major && minor >= oldest.minor)) {
      return {
        text: `Synapse ${version} (${python})`,
        value: runWith([python, ...homeserver], hasDriver === "True"),
      };
    }
    refusals.push(`${python} has Synapse ${version}; ${oldest.major}.${oldest.minor} is the oldest`);
  }
  throw new Unavailable(refusals.join("; ") || "no Python on PATH has the module synapse");
}

/** @param {{cacheDir: string, log: (line: string) => void}} given */
export async function installSystemSynapse({ cacheDir, log }) {
  const { version, command } = await findDebianSynapse({ cacheDir, log });
  return { text: `Synapse ${version} in a Debian root`, value: { command, hasPostgresDriver: true } };
}

/**
 * @param {string[]} program
 * @param {boolean} hasPostgresDriver
 * @returns {SynapseProgram}
 */
function runWith(program, hasPostgresDriver) {
  return { command: (configPath) => [...program, "-c", configPath], hasPostgresDriver };
}

function listSystemPythons() {
  const folders = (process.env.PATH ?? "").split(delimiter);
  const pythons = ["python3", "/usr/bin/python3"];
  for (const folder of folders) {
    const script = join(folder, "synapse_homeserver");
    if (!existsSync(script)) continue;
    const named = /^#!\s*(\S+)/.exec(readFileSync(script, "utf8"))?.[1];
    if (named !== undefined) pythons.unshift(named);
  }
  return [...new Set(pythons)];
}
