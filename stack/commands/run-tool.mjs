import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { ensureBuild } from "../packages/build.mjs";
import { Fault, runMain } from "../machine/fault.mjs";
import { readJson } from "../machine/files.mjs";
import { ensureDependencies } from "../packages/install.mjs";
import { createProgress } from "../machine/log.mjs";
import { checkoutDir, openPaths } from "../machine/paths.mjs";
import { readLiveRun } from "../supervisor/run-record.mjs";

/** The product's programs that a person runs beside the stack, and whether each needs the stack of this checkout. */
const tools = /** @type {Record<string, {program: string, needsStack: boolean}>} */ ({
  admin: { program: "dist/workers/admin.js", needsStack: false },
  demo: { program: "dist/bench/demo.js", needsStack: true },
  "bench:latency": { program: "dist/bench/latency.js", needsStack: true },
  "bench:pipeline": { program: "dist/bench/pipeline.js", needsStack: true },
  "bench:reads": { program: "dist/bench/reads.js", needsStack: true },
  "bench:outage": { program: "dist/bench/outage.js", needsStack: true },
  "bench:capacity": { program: "dist/bench/capacity.js", needsStack: true },
  "bench:burst": { program: "dist/bench/burst.js", needsStack: true },
  "bench:synapse": { program: "dist/bench/synapse-rate.js", needsStack: true },
  "bench:attack": { program: "dist/bench/attack.js", needsStack: true },
});

/** Runs a tool with the stack's environment; the caller's own variables win. Returns its exit code. */
async function main() {
  const [name = "", ...args] = process.argv.slice(2);
  const tool = tools[name];
  if (tool === undefined)
    throw new Fault(`no tool "${name}"`, {
      exitCode: 2,
      advice: `name one of ${Object.keys(tools).join(", ")}`,
    });
  const { cacheDir, stackDir } = openPaths();
  const runs = readLiveRun(stackDir)?.status === "ready";
  if (!runs && (tool.needsStack || !process.env.DATABASE_URL))
    throw new Fault("no stack is running: npm run up", { exitCode: 2 });
  // Progress goes to the standard error: a program may read the tool's own output.
  const log = createProgress({ write: (text) => process.stderr.write(text) });
  await ensureDependencies({ cacheDir, stackDir, log });
  if (!existsSync(join(checkoutDir, tool.program))) await ensureBuild({ stackDir, log });
  const env = { ...(runs ? readJson(join(stackDir, "env.json")) : {}), ...process.env };
  return runInherited([process.execPath, join(checkoutDir, tool.program), ...args], env);
}

/**
 * @param {string[]} command
 * @param {NodeJS.ProcessEnv} env
 * @returns {Promise<number>}
 */
function runInherited([file = "", ...args], env) {
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, { env, stdio: "inherit" });
    for (const name of /** @type {const} */ (["SIGINT", "SIGTERM", "SIGHUP"]))
      process.on(name, () => child.kill(name));
    child.once("error", reject);
    child.once("exit", (code) => resolve(code ?? 1));
  });
}

await runMain(main);
