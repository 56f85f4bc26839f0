import { withTimeout } from "./concurrency/with-timeout.ts";
import type { Log } from "./log.ts";
import { startWatchdog } from "./stall/watchdog.ts";

type Closer = { name: string; close: () => Promise<void> | void };

/** What a process opened. It is closed in reverse order. */
export class Resources {
  readonly #closers: Closer[] = [];

  /** Registers how to close a value that was just opened, and returns the value. */
  add<T>(name: string, value: T, close: (value: T) => Promise<void> | void): T {
    this.#closers.push({ name, close: () => close(value) });
    return value;
  }

  /** Closes everything, newest first. Logs a failure and closes the rest. */
  async closeAll(log: Log): Promise<void> {
    for (const { name, close } of this.#closers.splice(0).reverse()) {
      try {
        await close();
      } catch (error) {
        log.error({ err: error, resource: name }, "closing failed");
      }
    }
  }
}

/**
 * Ends a process whose work stalled, so that its supervisor starts a new one. Closes nothing: a part that hangs could
 * hang in closing too. Other processes take over the work, as after a kill.
 */
export function exitStalled(log: Log, about: Record<string, unknown>, why: string): never {
  log.fatal(about, `${why}: the process exits so that its supervisor restarts it`);
  process.exit(1);
}

/**
 * Runs a tier until SIGTERM or SIGINT, then closes its resources and exits with 0. Exits with 1 when the start fails, or
 * when closing takes longer than `limitMs`. A watchdog watches the event loop.
 */
export async function runProcess(
  log: Log,
  limitMs: number,
  start: (resources: Resources) => Promise<void>,
): Promise<void> {
  const resources = new Resources();
  resources.add("watchdog", startWatchdog(log), (watchdog) => watchdog.stop());
  const stop = async (signal: string, exitCode: number) => {
    log.info({ signal }, "stopping");
    await withTimeout(resources.closeAll(log), limitMs, () => {
      log.fatal({ limitMs }, "stopping took too long");
      process.exit(1);
    });
    log.info("stopped");
    process.exit(exitCode);
  };
  process.once("SIGTERM", () => void stop("SIGTERM", 0));
  process.once("SIGINT", () => void stop("SIGINT", 0));
  process.on("unhandledRejection", (error) => {
    log.fatal({ err: error }, "unhandled rejection");
    process.exit(1);
  });
  try {
    await start(resources);
  } catch (error) {
    log.fatal({ err: error }, "start failed");
    await stop("start failed", 1);
  }
}
