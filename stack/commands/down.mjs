import { runMain } from "../machine/fault.mjs";
import { createProgress, withProgress } from "../machine/log.mjs";
import { openPaths } from "../machine/paths.mjs";
import { stopRecorded } from "../machine/processes.mjs";
import { readRun, removeRun, stopLeftovers } from "../supervisor/run-record.mjs";

/** Stops this checkout's stack and waits for its end. */
async function main() {
  const { stackDir } = openPaths();
  const log = createProgress();
  const run = readRun(stackDir);
  if (run === undefined) {
    log("nothing is running");
    return 0;
  }
  const work = stopRecorded(run.supervisor, { limitMs: 120_000 });
  const ran = await withProgress(log, `stopping ${run.supervisor.pid}`, work);
  const leftovers = await stopLeftovers(stackDir);
  removeRun(stackDir);
  if (leftovers.length > 0) log(`stopped what its supervisor left: ${leftovers.join(", ")}`);
  log(ran || leftovers.length > 0 ? "stopped" : "nothing is running");
  return 0;
}

await runMain(main);
