import { parseArgs } from "node:util";
import { Fault, runMain } from "../machine/fault.mjs";
import { createProgress, withProgress } from "../machine/log.mjs";
import { openPaths, removeFolder } from "../machine/paths.mjs";
import { stopRecorded } from "../machine/processes.mjs";
import { readRun, removeRun, stopLeftovers } from "../supervisor/run-record.mjs";

/** `npm run down [-- --purge]`: stops this checkout's stack and waits for its end; then removes its data, if asked to. */
async function main() {
  const { purge } = readArguments();
  const paths = openPaths();
  const log = createProgress();
  await stopRunning(paths.stackDir, log);
  if (purge) removeCheckoutData(paths, log);
  return 0;
}

/** @returns {{purge: boolean}} */
function readArguments() {
  try {
    const { values } = parseArgs({ options: { purge: { type: "boolean", default: false } } });
    return values;
  } catch (cause) {
    throw new Fault(/** @type {Error} */ (cause).message, {
      exitCode: 2,
      advice: "npm run down [-- --purge]",
      cause,
    });
  }
}

/**
 * @param {string} stackDir
 * @param {(line: string) => void} log
 */
async function stopRunning(stackDir, log) {
  const run = readRun(stackDir);
  if (run === undefined) {
    log("nothing is running");
    return;
  }
  const work = stopRecorded(run.supervisor, { limitMs: 120_000 });
  const ran = await withProgress(log, `stopping ${run.supervisor.pid}`, work);
  const leftovers = await stopLeftovers(stackDir);
  removeRun(stackDir);
  if (leftovers.length > 0) log(`stopped what its supervisor left: ${leftovers.join(", ")}`);
  log(ran || leftovers.length > 0 ? "stopped" : "nothing is running");
}

/**
 * Removes the databases, secrets, keys and logs of this checkout. Downloads stay: other checkouts share them. A database
 * that a URL named is not ours and stays too.
 * @param {{stateDir: string, stackDir: string}} paths
 * @param {(line: string) => void} log
 */
function removeCheckoutData({ stateDir, stackDir }, log) {
  for (const folder of [stateDir, stackDir]) {
    log(`purge: removing ${folder}`);
    removeFolder(folder);
  }
}

await runMain(main);
