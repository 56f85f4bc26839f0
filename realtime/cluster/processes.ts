import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import type { Log } from "../../shared/platform/log.ts";
import { requireFreePort } from "../transport/free-port.ts";
import { CHILD_ARGUMENT } from "./messages.ts";
import { answerMergeRequest } from "./process-metrics.ts";

const FIRST_DELAY_MS = 500;
const MAX_DELAY_MS = 10_000;
/** After this life the delay before the next start is the first one again. */
const STEADY_MS = 30_000;

export type ProcessSupervisor = { close: () => Promise<void> };

/**
 * Starts one process per core and restarts each that ends. They share the port.
 * @throws when another process listens on the port: both would get a part of the connections.
 */
export async function superviseProcesses({
  count,
  port,
  host,
  log,
}: {
  count: number;
  port: number;
  host: string | undefined;
  log: Log;
}): Promise<ProcessSupervisor> {
  await requireFreePort(port, host);
  const children = new Set<ChildProcess>();
  let isClosing = false;
  const start = (delayMs: number) => {
    const startedAtMs = Date.now();
    const child = fork(process.argv[1] ?? "", [...process.argv.slice(2), CHILD_ARGUMENT]);
    children.add(child);
    child.on("message", (message) => void answerMergeRequest(children, child, message));
    child.once("exit", (code, signal) => {
      children.delete(child);
      if (isClosing) return;
      const isSteady = Date.now() - startedAtMs > STEADY_MS;
      const nextMs = isSteady ? FIRST_DELAY_MS : Math.min(delayMs * 2, MAX_DELAY_MS);
      log.error({ code, signal, delayMs: nextMs }, "a realtime process ended");
      setTimeout(() => {
        if (!isClosing) start(nextMs);
      }, nextMs);
    });
  };
  for (let index = 0; index < count; index++) start(FIRST_DELAY_MS / 2);
  log.info({ count, port }, "realtime processes started");
  return {
    async close() {
      isClosing = true;
      await Promise.all(
        [...children].map(async (child) => {
          const exited = once(child, "exit");
          child.kill("SIGTERM");
          await exited;
        }),
      );
    },
  };
}
