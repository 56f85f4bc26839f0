import { write } from "node:fs";
import { Session } from "node:inspector";
import { basename } from "node:path";
import { workerData } from "node:worker_threads";
import { findStalled, updateSamples, type Samples } from "./stall-detector.ts";
import type { WatchdogOrders } from "./watchdog.ts";

const EVENT_LOOP = "event loop";
const STANDARD_OUTPUT = 1;
const FATAL = 60;
const FRAMES_SHOWN = 8;
/** What waits outside JavaScript may never answer where it is. */
const ASK_LIMIT_MS = 5_000;
const WRITE_LIMIT_MS = 1_000;

const { ticks, limits, about } = workerData as WatchdogOrders;
let sights: Samples = new Map();

const timer = setInterval(() => {
  sights = updateSamples(sights, new Map([[EVENT_LOOP, String(Atomics.load(ticks, 0))]]), limits.everyMs);
  if (findStalled(sights, limits.limitMs) === null) return;
  clearInterval(timer);
  setTimeout(() => {
    end([]);
  }, ASK_LIMIT_MS);
  try {
    askWhere(end);
  } catch {
    end([]);
  }
}, limits.everyMs);

/** Stops the program where it is, as a debugger does. */
function askWhere(tell: (where: string[]) => void): void {
  const session = new Session();
  session.connectToMainThread();
  const files = new Map<string, string>();
  session.on("Debugger.scriptParsed", ({ params: { scriptId, url } }) => files.set(scriptId, basename(url)));
  session.on("Debugger.paused", ({ params: { callFrames } }) => {
    tell(
      callFrames.slice(0, FRAMES_SHOWN).map(({ functionName, location: { scriptId, lineNumber } }) => {
        return `${functionName || "anonymous"} (${files.get(scriptId) ?? "unknown"}:${lineNumber + 1})`;
      }),
    );
  });
  session.post("Debugger.enable", () => {
    session.post("Debugger.pause");
  });
}

/** Says it as the process's log does, and ends the process. `where`: the innermost function first. */
function end(where: string[]): void {
  const line = {
    level: FATAL,
    time: new Date().toISOString(),
    ...about,
    pid: process.pid,
    limitMs: limits.limitMs,
    where,
    msg: "the event loop hangs: the process is killed, to be started anew",
  };
  const kill = () => process.kill(process.pid, "SIGKILL");
  // Nobody may be reading any more, which may be what the program hangs in.
  setTimeout(kill, WRITE_LIMIT_MS);
  write(STANDARD_OUTPUT, `${JSON.stringify(line)}\n`, kill);
}
