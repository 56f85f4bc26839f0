import { execFileSync, spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

/**
 * A process as a file records it. The pid alone is not enough: another program may have it later.
 * @typedef {{pid: number, startedAt: string, stopSignal?: NodeJS.Signals}} ProcessRecord
 */

/** It makes the kernel signal a child when its parent dies. */
const setpriv = ["/usr/bin/setpriv", "/bin/setpriv"].find((path) => existsSync(path));

/**
 * The command line of a program that ends with its parent, on a system with setpriv.
 * @param {string[]} command
 * @param {NodeJS.Signals} stopSignal
 */
export function tieToParent(command, stopSignal) {
  return setpriv === undefined
    ? command
    : [setpriv, "--pdeathsig", stopSignal.replace("SIG", ""), "--", ...command];
}

/**
 * When a process started, as a text that is unique among processes of the same pid; undefined if none runs.
 * @param {number} pid
 */
export function readStartedAt(pid) {
  try {
    if (!existsSync("/proc/self/stat"))
      return execFileSync("ps", ["-o", "lstart=", "-p", String(pid)])
        .toString()
        .trim();
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1)?.split(" ") ?? [];
    if (fields[0] === "Z" || fields[19] === undefined) return undefined;
    return `${readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim()}/${fields[19]}`;
  } catch {
    // The process ended before or during the read.
    return undefined;
  }
}

/**
 * @param {number} pid
 * @param {NodeJS.Signals} [stopSignal]
 * @returns {ProcessRecord | undefined}
 */
export function recordProcess(pid, stopSignal = "SIGTERM") {
  const startedAt = readStartedAt(pid);
  return startedAt === undefined ? undefined : { pid, startedAt, stopSignal };
}

/** @param {ProcessRecord | undefined} record */
export function isRecordAlive(record) {
  return record !== undefined && readStartedAt(record.pid) === record.startedAt;
}

/**
 * Stops a recorded process if it is still the same one; kills it at the limit. Returns whether it ran.
 * @param {ProcessRecord} record
 * @param {{limitMs?: number}} [options]
 */
export async function stopRecorded(record, { limitMs = 15_000 } = {}) {
  if (!isRecordAlive(record)) return false;
  signal(record.pid, record.stopSignal ?? "SIGTERM");
  const deadlineMs = Date.now() + limitMs;
  while (isRecordAlive(record)) {
    if (Date.now() > deadlineMs) signal(record.pid, "SIGKILL");
    await sleep(50);
  }
  return true;
}

/**
 * Signals a process. One that has ended is no error.
 * @param {number} pid
 * @param {NodeJS.Signals} name
 */
export function signal(pid, name) {
  try {
    process.kill(pid, name);
  } catch (error) {
    if (/** @type {NodeJS.ErrnoException} */ (error).code !== "ESRCH") throw error;
  }
}

/**
 * Runs a program to its end and returns its output. Its input is empty.
 * @param {string[]} command
 * @param {{cwd?: string, env?: NodeJS.ProcessEnv, uid?: number, gid?: number, input?: string, limitMs?: number, onLine?: (line: string) => void}} [options]
 * @returns {Promise<{code: number | null, output: string, stdout: string}>} `output` is both streams, its last 64,000 characters
 */
export function runToEnd(command, { input, limitMs = 900_000, onLine, ...options } = {}) {
  const [file = "", ...args] = tieToParent(command, "SIGTERM");
  return new Promise((resolve) => {
    const child = spawn(file, args, { ...options, stdio: ["pipe", "pipe", "pipe"], timeout: limitMs });
    let output = "";
    let stdout = "";
    const take = (/** @type {Buffer} */ chunk) => {
      output = (output + chunk.toString()).slice(-64_000);
      onLine?.(output.trimEnd().split("\n").at(-1) ?? "");
    };
    child.stdout.on("data", take);
    child.stdout.on("data", (chunk) => (stdout += chunk));
    child.stderr.on("data", take);
    child.stdin.on("error", () => undefined); // A program that reads no input may close it first.
    child.stdin.end(input ?? "");
    child.once("error", (error) => resolve({ code: null, output: `${output}${error.message}`, stdout }));
    child.once("close", (code) => resolve({ code, output, stdout }));
  });
}
