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

/** Starts this checkout's stack, and stays with it until Ctrl-C unless it is to run detached. */
async function main() {
  const { detach, fresh, background } = readArguments();
  const places = openPaths();
  if (background) {
    const file = openLogFile(join(places.stackDir, "logs", "up.log"));
    return superviseStack({ places, fresh, write: (text) => file.write(text) });
  }
  process.stdout.on("error", () => undefined); // Its reader may go before we do.
  const log = createProgress();
  const answered = await answerRunning({ places, fresh, log });
  if (answered) return 0;
  if (detach)
    return followUntilReady({
      ...startInBackground({ stackDir: places.stackDir, fresh }),
      stackDir: places.stackDir,
    });
  return superviseStack({ places, fresh, write: (text) => process.stdout.write(text) });
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
 * Says what already runs; a fresh start stops it first. True if there is nothing left to do.
 * @param {{places: {stackDir: string}, fresh: boolean, log: (line: string) => void}} given
 */
async function answerRunning({ places, fresh, log }) {
  for (let waited = false; ; waited = true) {
    const run = readLiveRun(places.stackDir);
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
 * Runs the stack until a signal, then stops it. Answers the exit code.
 * @param {{places: ReturnType<typeof openPaths>, fresh: boolean, write: (text: string) => void}} given
 */
async function superviseStack({ places, fresh, write }) {
  const log = createProgress({ write });
  const roster = createProcessRegistry({ stackDir: places.stackDir, log });
  const asked = awaitSignal();
  await claim(places.stackDir, roster.publish, log);
  const announce = (/** @type {string} */ line) => write(`${line}\n`);
  let exitCode = 0;
  let failure = "";
  try {
    const early = await Promise.race([startStack({ places, fresh, log, roster, announce }), asked]);
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
  await roster.stop();
  removeRun(places.stackDir);
  write(failure === "" ? "stopped\n" : `${failure}\n`);
  // Downloads that were interrupted may still hold this process.
  process.exit(exitCode);
}

/**
 * Makes this process the checkout's supervisor, once what a dead one left is stopped.
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
    if (leftovers.length > 0) log(`stopped what an earlier run has left: ${leftovers.join(", ")}`);
    publish();
  });
}

/** Resolves with the first signal that asks to stop; a second one changes nothing. */
function awaitSignal() {
  return new Promise((/** @type {(name: string) => void} */ resolve) => {
    for (const name of /** @type {const} */ (["SIGINT", "SIGTERM", "SIGHUP"]))
      process.on(name, () => resolve(name));
  });
}

await runMain(main);
