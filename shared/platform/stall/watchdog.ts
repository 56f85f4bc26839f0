import { url as debuggerUrl } from "node:inspector";
import { Worker } from "node:worker_threads";
import type { Log } from "../log.ts";
import type { StallLimits } from "./stall-detector.ts";

const LIMITS: StallLimits = { everyMs: 1_000, limitMs: 30_000 };
/** The thread needs little memory: it counts, and once in its life it locates where the program hangs. */
const MEMORY = { maxYoungGenerationSizeMb: 2, maxOldGenerationSizeMb: 16, stackSizeMb: 1 };

/** What the thread works with: the counter that the event loop increments, and the first fields of each log line. */
export type WatchdogData = { ticks: Int32Array; limits: StallLimits; about: Record<string, unknown> };

export type Watchdog = { stop: () => Promise<void> };

/**
 * Starts a thread that watches the event loop. When the event loop hangs for the limit, the thread writes a fatal line
 * and kills the process: nothing else could end it. Does not keep the process alive. Does nothing under a debugger,
 * where a breakpoint looks the same.
 */
export function startWatchdog(log: Log, limits = LIMITS): Watchdog {
  if (debuggerUrl() !== undefined) return { stop: () => Promise.resolve() };
  const ticks = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
  const timer = setInterval(() => Atomics.add(ticks, 0, 1), limits.everyMs).unref();
  const data: WatchdogData = { ticks, limits, about: log.bindings() };
  const thread = new Worker(new URL("./watchdog-thread.js", import.meta.url), {
    workerData: data,
    env: {},
    resourceLimits: MEMORY,
  });
  thread.on("error", (error) => {
    log.warn({ err: error }, "the watchdog failed: this process does not notice when its event loop hangs");
  });
  thread.unref();
  return {
    stop: async () => {
      clearInterval(timer);
      await thread.terminate();
    },
  };
}
