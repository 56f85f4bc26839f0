import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { followUntilReady, startInBackground } from "../supervisor/background.mjs";
import { describeFailure, Fault, runMain } from "../machine/fault.mjs";
import { withLock } from "../machine/lock.mjs";
import { createProgress, openLogFile } from "../machine/log.mjs";
import { openPaths } from "../machine/paths.mjs";
import { isRecordAlive, stopRecorded } from "../machine/processes.mjs";
import { readLiveRun, removeRun, stopLeftovers } from "../supervisor/run-record.mjs";
import { createProcessRegistry } from "../supervisor/process-registry.mjs";
import { startStack } from "../supervisor/run-stack.mjs";

/** Starts this checkout's stack. Without `--detach` it runs until Ctrl-C. */
async function main() {
  const { detach, fresh, background } = readArguments();
  const paths = openPaths();
  if (background) {
    const file = openLogFile(join(paths.stackDir, "logs", "up.log"));
    return superviseStack({ paths, fresh, write: (text) => file.write(text) });
  }
  process.stdout.on("error", () => undefined); // Its reader may go before we do.
  const log = createProgress();
  const answered = await answerRunning({ paths, fresh, log });
  if (answered) return 0;
  if (detach)
    return followUntilReady({
      ...startInBackground({ stackDir: paths.stackDir, fresh }),
      stackDir: paths.stackDir,
    });
  return superviseStack({ paths, fresh, write: (text) => process.stdout.write(text) });
}

function readArguments() {
  try {
    const options = /** @type {const} */ ({
      detach: { type: "boolean" },
      fresh: { type: "boolean" },
      background: { type: "boolean" },
    });
    const { values } = parseArgs({ options });
    return {
      detach: values.detach ?? false,
      fresh: values.fresh ?? false,
      background: values.background ?? false,
    };
  } catch (cause) {
    throw new Fault(/** @type {Error} */ (cause).message, {
      exitCode: 2,
      advice: "npm run up [-- [--detach] [--fresh]]",
      cause,
    });
  }
}

/**
 * Reports a stack that already runs; a fresh start stops it first. Returns true when nothing is left to do.
 * @param {{paths: {stackDir: string}, fresh: boolean, log: (line: string) => void}} given
 */
async function answerRunning({ paths, fresh, log }) {
  for (let waited = false; ; waited = true) {
    const run = readLiveRun(paths.stackDir);
    if (run === undefined) return false;
    if (fresh || run.status === "stopping") {
      log(`stopping what runs as ${run.supervisor.pid}`);
      await stopRecorded(run.supervisor, { limitMs: 120_000 });
    } else if (run.status === "ready") {
      log(`already running as ${run.supervisor.pid}; npm run down stops it`);
      process.stdout.write(`${run.readyLine}\n`);
      return true;
    } else {
      if (!waited) log(`already starting as ${run.supervisor.pid}; waiting for it`);
      await sleep(200);
    }
  }
}

/**
 * Runs the stack until a signal, then stops it. Returns the exit code.
 * @param {{paths: ReturnType<typeof openPaths>, fresh: boolean, write: (text: string) => void}} given
 */
async function superviseStack({ paths, fresh, write }) {
  const log = createProgress({ write });
  const registry = createProcessRegistry({ stackDir: paths.stackDir, log });
  const asked = awaitSignal();
  await claim(paths.stackDir, registry.publish, log);
  const announce = (/** @type {string} */ line) => write(`${line}\n`);
  let exitCode = 0;
  let failure = "";
  try {
    const early = await Promise.race([startStack({ paths, fresh, log, registry, announce }), asked]);
    if (early === undefined) {
      log(`stopping: ${await asked}`);
    } else {
      log(`stopping before it was ready: ${early}`);
      exitCode = 1;
    }
  } catch (error) {
    exitCode = error instanceof Fault ? error.exitCode : 1;
    failure = describeFailure(error);
  }
  await registry.stop();
  removeRun(paths.stackDir);
  write(failure === "" ? "stopped\n" : `${failure}\n`);
  // An interrupted download may still keep this process alive.
  process.exit(exitCode);
}

/**
 * Makes this process the checkout's supervisor, after it has stopped what a dead one left.
 * @param {string} stackDir
 * @param {() => void} publish
 * @param {(line: string) => void} log
 */
function claim(stackDir, publish, log) {
  return withLock(join(stackDir, "run.lock"), async () => {
    const other = readLiveRun(stackDir);
    if (other !== undefined && isRecordAlive(other.supervisor))
      throw new Fault(`another start of this checkout runs as ${other.supervisor.pid}`);
    const leftovers = await stopLeftovers(stackDir);
    if (leftovers.length > 0) log(`stopped what an earlier run left: ${leftovers.join(", ")}`);
    publish();
  });
}

/** Resolves with the first signal; later ones change nothing. */
function awaitSignal() {
  return new Promise((/** @type {(name: string) => void} */ resolve) => {
    for (const name of /** @type {const} */ (["SIGINT", "SIGTERM", "SIGHUP"]))
      process.on(name, () => resolve(name));
  });
}

await runMain(main);
