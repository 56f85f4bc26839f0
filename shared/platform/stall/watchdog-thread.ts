import { write } from "node:fs";
import { Session } from "node:inspector";
import { basename } from "node:path";
import { workerData } from "node:worker_threads";
import { findStalled, updateSamples, type Samples } from "./stall-detector.ts";
import type { WatchdogData } from "./watchdog.ts";

const EVENT_LOOP = "event loop";
const STANDARD_OUTPUT = 1;
const FATAL = 60;
const FRAMES_SHOWN = 8;
/** A program that hangs in native code may never reach the debugger. */
const LOCATE_LIMIT_MS = 5_000;
const WRITE_LIMIT_MS = 1_000;

const { ticks, limits, about } = workerData as WatchdogData;
let samples: Samples = new Map();

const timer = setInterval(() => {
  samples = updateSamples(samples, new Map([[EVENT_LOOP, String(Atomics.load(ticks, 0))]]), limits.everyMs);
  if (findStalled(samples, limits.limitMs) === null) return;
  clearInterval(timer);
  setTimeout(() => {
    end([]);
  }, LOCATE_LIMIT_MS);
  try {
    locate(end);
  } catch {
    end([]);
  }
}, limits.everyMs);

/** Pauses the program as a debugger does, and passes on its call stack, the innermost function first. */
function locate(onPaused: (stack: string[]) => void): void {
  const session = new Session();
  session.connectToMainThread();
  const files = new Map<string, string>();
  session.on("Debugger.scriptParsed", ({ params: { scriptId, url } }) => files.set(scriptId, basename(url)));
  session.on("Debugger.paused", ({ params: { callFrames } }) => {
    onPaused(
      callFrames.slice(0, FRAMES_SHOWN).map(({ functionName, location: { scriptId, lineNumber } }) => {
        return `${functionName || "anonymous"} (${files.get(scriptId) ?? "unknown"}:${lineNumber + 1})`;
      }),
    );
  });
  session.post("Debugger.enable", () => {
    session.post("Debugger.pause");
  });
}

/** Writes one fatal line in the format of the process's log, and kills the process. */
function end(where: string[]): void {
  const line = {
    level: FATAL,
    time: new Date().toISOString(),
    ...about,
    pid: process.pid,
    limitMs: limits.limitMs,
    where,
    msg: "the event loop hangs: the process is killed so that its supervisor restarts it",
  };
  const kill = () => process.kill(process.pid, "SIGKILL");
  // The write may never end: perhaps the program hangs because nothing reads its output.
  setTimeout(kill, WRITE_LIMIT_MS);
  write(STANDARD_OUTPUT, `${JSON.stringify(line)}\n`, kill);
}
