import { spawn } from "node:child_process";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { Fault } from "../machine/fault.mjs";
import { openLogFile, readLastLines } from "../machine/log.mjs";
import { tieToParent } from "../machine/processes.mjs";

/**
 * A long-running process: how it starts, when it is ready, how it stops.
 * @typedef {object} ServicePlan
 * @property {string} name
 * @property {string[]} command
 * @property {string} logPath
 * @property {() => Promise<boolean>} isReady
 * @property {number} readyLimitMs
 * @property {NodeJS.Signals} [stopSignal] SIGTERM by default
 * @property {number} [stopLimitMs] then it is killed; 20 seconds by default
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
  /** @type {import("node:child_process").ChildProcess | undefined} */
  let child;
  /** @type {End | undefined} */
  let lastEnd;
  let stopping = false;
  /** @type {{onStart?: () => void, onEnd?: (end: End) => void}} */
  const listeners = {};

  const launch = async () => {
    stopping = false;
    lastEnd = undefined;
    const started = await spawnLogged(plan, (reason) => {
      child = undefined;
      lastEnd = { expected: stopping, reason };
      listeners.onEnd?.(lastEnd);
    });
    // Both may have changed during the start.
    const [hasEnded, isStopping] = [() => lastEnd !== undefined, () => stopping];
    if (!hasEnded()) child = started;
    // `stop` ran before there was a process.
    if (isStopping()) await stop();
    listeners.onStart?.();
  };
  const stop = async () => {
    stopping = true;
    if (child !== undefined) await stopChild(child, plan);
  };

  return {
    name: plan.name,
    stopSignal: plan.stopSignal ?? "SIGTERM",
    logPath: plan.logPath,
    get pid() {
      return child?.pid;
    },
    launch,
    stop,
    /** Resolves when it is ready. When it does not become ready, it is stopped. */
    async start() {
      await launch();
      try {
        await awaitReady(plan, () => lastEnd);
      } catch (error) {
        await stop();
        throw error;
      }
    },
    /**
     * At most one listener, called when it runs under a new pid.
     * @param {() => void} listener
     */
    onStart(listener) {
      listeners.onStart = listener;
    },
    /**
     * At most one listener, called at every end; `expected` after `stop`.
     * @param {(end: End) => void} listener
     */
    onEnd(listener) {
      listeners.onEnd = listener;
    },
  };
}

/**
 * @param {ServicePlan} plan
 * @param {(reason: string) => void} onEnd
 */
async function spawnLogged(plan, onEnd) {
  const [file = "", ...args] = tieToParent(plan.command, plan.stopSignal ?? "SIGTERM");
  const log = openLogFile(plan.logPath);
  const child = spawn(file, args, {
    cwd: plan.cwd,
    env: plan.env,
    ...(plan.uid === undefined ? {} : { uid: plan.uid, gid: plan.gid }),
    // A session of its own: Ctrl-C reaches only the supervisor, which stops all in order.
    detached: true,
    stdio: ["ignore", "pipe", "pipe"],
  });
  child.stdout.on("data", (chunk) => log.write(chunk));
  child.stderr.on("data", (chunk) => log.write(chunk));
  child.once("close", () => log.close());
  child.once("exit", (code, signalName) => onEnd(signalName ?? `code ${code}`));
  try {
    await once(child, "spawn");
  } catch (cause) {
    throw new Fault(`${plan.name} cannot be run: ${plan.command[0]}`, { cause });
  }
  return child;
}

/**
 * @param {ServicePlan} plan
 * @param {() => End | undefined} readEnd
 */
async function awaitReady(plan, readEnd) {
  const deadlineMs = Date.now() + plan.readyLimitMs;
  const fail = (/** @type {string} */ what) =>
    new Fault(`${plan.name} ${what}; the end of ${plan.logPath}:\n${readLastLines(plan.logPath, 20)}`);
  for (;;) {
    const ready = await plan.isReady();
    const end = readEnd();
    // Read after the check: another program may have answered on its port.
    if (end !== undefined) throw fail(`ended while it started (${end.reason})`);
    if (ready) return;
    if (Date.now() > deadlineMs) throw fail(`is not ready after ${plan.readyLimitMs / 1_000} s`);
    await sleep(50);
  }
}

/**
 * @param {import("node:child_process").ChildProcess} child that runs
 * @param {ServicePlan} plan
 */
async function stopChild(child, plan) {
  const ended = once(child, "exit");
  child.kill(plan.stopSignal ?? "SIGTERM");
  const killer = setTimeout(() => child.kill("SIGKILL"), plan.stopLimitMs ?? 20_000);
  await ended;
  clearTimeout(killer);
}
