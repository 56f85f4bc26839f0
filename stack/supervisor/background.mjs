import { spawn } from "node:child_process";
import { closeSync, mkdirSync, openSync, readSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { readLiveRun } from "./run-record.mjs";

const upProgram = join(dirname(fileURLToPath(import.meta.url)), "../commands/up.mjs");

/**
 * Starts the supervisor in a session of its own, with none of our outputs.
 * @param {{stackDir: string, fresh: boolean}} given
 */
export function startInBackground({ stackDir, fresh }) {
  const logPath = join(stackDir, "logs", "up.log");
  mkdirSync(dirname(logPath), { recursive: true });
  rmSync(logPath, { force: true });
  const file = openSync(logPath, "a", 0o600);
  const child = spawn(process.execPath, [upProgram, "--background", ...(fresh ? ["--fresh"] : [])], {
    detached: true,
    stdio: ["ignore", file, file],
  });
  closeSync(file);
  return { child, logPath };
}

/**
 * Shows the supervisor's progress until it is ready (0) or has ended (its exit code). Ctrl-C here stops it.
 * @param {{child: import("node:child_process").ChildProcess, logPath: string, stackDir: string}} given
 */
export async function followUntilReady({ child, logPath, stackDir }) {
  /** @type {number | undefined} */
  let exitCode;
  child.once("exit", (code) => (exitCode = code ?? 1));
  for (const name of /** @type {const} */ (["SIGINT", "SIGTERM", "SIGHUP"]))
    process.on(name, () => child.kill("SIGTERM"));
  const file = openSync(logPath, "r");
  const show = () => {
    const chunk = Buffer.alloc(65_536);
    for (let bytes = readSync(file, chunk); bytes > 0; bytes = readSync(file, chunk))
      process.stdout.write(chunk.subarray(0, bytes));
  };
  while (exitCode === undefined) {
    await sleep(100);
    const run = readLiveRun(stackDir);
    // The line is in the log before the record says ready, so that it is the last one shown.
    const ready = run?.supervisor.pid === child.pid && run?.status === "ready";
    show();
    if (!ready) continue;
    child.unref();
    closeSync(file);
    return 0;
  }
  show();
  closeSync(file);
  return exitCode;
}
