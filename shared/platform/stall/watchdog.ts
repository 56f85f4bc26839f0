import { url as debuggerUrl } from "node:inspector";
import { Worker } from "node:worker_threads";
import type { Log } from "../log.ts";
import type { StallLimits } from "./stall-detector.ts";

const LIMITS: StallLimits = { everyMs: 1_000, limitMs: 30_000 };
/** Of the thread: it counts, and once in its life it asks where the program hangs. */
const MEMORY = { maxYoungGenerationSizeMb: 2, maxOldGenerationSizeMb: 16, stackSizeMb: 1 };

/** What the thread is told: the counter that the program moves, and the fields that the process's log lines begin with. */
export type WatchdogOrders = { ticks: Int32Array; limits: StallLimits; about: Record<string, unknown> };

export type Watchdog = { stop: () => Promise<void> };

/**
 * Has a thread watch the event loop. One that hangs for the limit is told of in a fatal line, and the process is
 * killed: nothing else ends it then. Keeps no process alive. Watches nothing under a debugger, where a breakpoint
 * would look the same.
 */
export function startWatchdog(log: Log, limits = LIMITS): Watchdog {
  if (debuggerUrl() !== undefined) return { stop: () => Promise.resolve() };
  const ticks = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
  const timer = setInterval(() => Atomics.add(ticks, 0, 1), limits.everyMs).unref();
  const orders: WatchdogOrders = { ticks, limits, about: log.bindings() };
  const thread = new Worker(new URL("./watchdog-thread.js", import.meta.url), {
    workerData: orders,
    env: {},
    resourceLimits: MEMORY,
  });
  thread.on("error", (error) => {
    log.warn({ err: error }, "the watchdog ended: an event loop that hangs will not be noticed");
  });
  thread.unref();
  return {
    stop: async () => {
      clearInterval(timer);
      await thread.terminate();
    },
  };
}
