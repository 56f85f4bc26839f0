import { spawn } from "node:child_process";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { Fault } from "./fault.mjs";
import { openLogFile, readLastLines } from "./log.mjs";
import { signal, tieToParent } from "./processes.mjs";

/**
 * What a long-running process is: how it starts, when it is ready, how it stops.
 * @typedef {object} ServicePlan
 * @property {string} name
 * @property {string[]} command
 * @property {string} logPath
 * @property {() => Promise<boolean>} isReady
 * @property {number} readyLimitMs
 * @property {NodeJS.Signals} [stopSignal] SIGTERM unless told
 * @property {number} [stopLimitMs] then it is killed; 20 seconds unless told
 * @property {NodeJS.ProcessEnv} [env]
 * @property {string} [cwd]
 * @property {number} [uid]
 * @property {number} [gid]
 */

/** @typedef {ReturnType<typeof createService>} Service */
/** @typedef {{expected: boolean, reason: string}} End */

/**
 * One process that can be started, stopped and started again. Its output goes to its log file, never to ours.
 * @param {ServicePlan} plan
 */
export function createService(plan) {
  const stopSignal = plan.stopSignal ?? "SIGTERM";
  /** @type {import("node:child_process").ChildProcess | undefined} */
  let child;
  /** @type {((end: End) => void) | undefined} */
  let endListener;
  /** @type {(() => void) | undefined} */
  let startListener;
  let stopping = false;
  let endReason = "";

  const launch = async () => {
    stopping = false;
    const [file = "", ...args] = tieToParent(plan.command, stopSignal);
    const log = openLogFile(plan.logPath);
    const started = spawn(file, args, {
      cwd: plan.cwd,
      env: plan.env,
      ...(plan.uid === undefined ? {} : { uid: plan.uid, gid: plan.gid }),
      // A session of its own: Ctrl-C in the terminal reaches us alone, and we stop all in their order.
      detached: true,
      stdio: ["ignore", "pipe", "pipe"],
    });
    child = started;
    started.stdout?.on("data", (chunk) => log.write(chunk));
    started.stderr?.on("data", (chunk) => log.write(chunk));
    started.once("close", () => log.close());
    started.once("exit", (code, signalName) => {
      child = undefined;
      endReason = signalName ?? `code ${code}`;
      endListener?.({ expected: stopping, reason: endReason });
    });
    try {
      await once(started, "spawn");
    } catch (cause) {
      child = undefined;
      log.close();
      throw new Fault(`${plan.name} cannot be run: ${plan.command[0]}`, { cause });
    }
    startListener?.();
  };

  const awaitReady = async () => {
    const deadlineMs = Date.now() + plan.readyLimitMs;
    const fail = (/** @type {string} */ what) =>
      new Fault(`${plan.name} ${what}; the end of ${plan.logPath}:\n${readLastLines(plan.logPath, 20)}`);
    while (!(await plan.isReady())) {
      if (child === undefined) throw fail(`ended while it started (${endReason})`);
      if (Date.now() > deadlineMs) throw fail(`is not ready after ${plan.readyLimitMs / 1_000} s`);
      await sleep(50);
    }
    if (child === undefined) throw fail(`ended while it started (${endReason})`);
  };

  const stop = async () => {
    stopping = true;
    const ending = child;
    if (ending?.pid === undefined) return;
    const ended = once(ending, "exit");
    signal(ending.pid, stopSignal);
    const killer = setTimeout(() => ending.kill("SIGKILL"), plan.stopLimitMs ?? 20_000);
    await ended;
    clearTimeout(killer);
  };

  return {
    name: plan.name,
    stopSignal,
    logPath: plan.logPath,
    get pid() {
      return child?.pid;
    },
    /** Resolves when it runs and is ready; when it cannot be, it is stopped first. */
    async start() {
      await launch();
      try {
        await awaitReady();
      } catch (error) {
        await stop();
        throw error;
      }
    },
    launch,
    awaitReady,
    stop,
    /** Kills without warning, as a crash would, and waits for the end. */
    async kill() {
      const ending = child;
      if (ending === undefined) return;
      const ended = once(ending, "exit");
      ending.kill("SIGKILL");
      await ended;
    },
    /**
     * One listener at most: hears that it runs under a new pid.
     * @param {() => void} listener
     */
    onStart(listener) {
      startListener = listener;
    },
    /**
     * One listener at most: hears every end, `expected` if it was asked to stop.
     * @param {(end: End) => void} listener
     */
    onEnd(listener) {
      endListener = listener;
    },
  };
}
