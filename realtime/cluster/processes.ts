import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { z } from "zod";
import type { Log } from "../../shared/platform/log.ts";
import { requireFreePort } from "../transport/free-port.ts";
import { mergeMetrics, type MetricValues, type Registry } from "../../shared/platform/metrics.ts";

/** One process per core: the parent starts and restarts the children, which share the port. */

const CHILD = "OMC_REALTIME_CHILD";
const FIRST_DELAY_MS = 500;
const MAX_DELAY_MS = 10_000;
/** A child that lived this long starts again at once when it dies. */
const STEADY_MS = 30_000;
const METRICS_WAIT_MS = 2_000;

const report = z.object({ kind: z.literal("metrics"), values: z.array(z.unknown()) });
const ask = z.object({ kind: z.literal("ask-metrics"), id: z.int() });
const merged = z.object({ kind: z.literal("merged-metrics"), id: z.int(), text: z.string() });
const collect = z.object({ kind: z.literal("collect-metrics") });

export function isChild(): boolean {
  return process.send !== undefined && process.argv.includes(CHILD);
}

type Family = { close: () => Promise<void> };

/** @throws when the port is taken already: sharing it with strangers would lose their clients and ours. */
export async function superviseProcesses({
  count,
  port,
  log,
}: {
  count: number;
  port: number;
  log: Log;
}): Promise<Family> {
  await requireFreePort(port);
  const children = new Set<ChildProcess>();
  let isClosing = false;
  const start = (delayMs: number) => {
    const bornAtMs = Date.now();
    const child = fork(process.argv[1] ?? "", [...process.argv.slice(2), CHILD]);
    children.add(child);
    child.on("message", (message) => void answerChild(children, child, message));
    child.once("exit", (code, signal) => {
      children.delete(child);
      if (isClosing) return;
      const nextMs = Date.now() - bornAtMs > STEADY_MS ? FIRST_DELAY_MS : Math.min(delayMs * 2, MAX_DELAY_MS);
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

/** A child that was asked for metrics gets those of all. */
async function answerChild(
  children: ReadonlySet<ChildProcess>,
  asker: ChildProcess,
  message: unknown,
): Promise<void> {
  const request = ask.safeParse(message);
  if (!request.success) return;
  const reports = await Promise.all([...children].map(collectFrom));
  const text = await mergeMetrics(reports.flatMap((values) => (values ? [values] : [])));
  if (asker.connected) asker.send({ kind: "merged-metrics", id: request.data.id, text });
}

function collectFrom(child: ChildProcess): Promise<MetricValues | null> {
  return new Promise((resolve) => {
    const finish = (values: MetricValues | null) => {
      clearTimeout(timer);
      child.off("message", take);
      resolve(values);
    };
    const take = (message: unknown) => {
      const parsed = report.safeParse(message);
      if (parsed.success) finish(parsed.data.values);
    };
    const timer = setTimeout(() => {
      finish(null);
    }, METRICS_WAIT_MS);
    child.on("message", take);
    child.send({ kind: "collect-metrics" }, (error) => {
      if (error) finish(null);
    });
  });
}

let lastAsk = 0;

/** The metrics of this process, or of all when it is one of several. */
export async function readAllMetrics(registry: Registry): Promise<string> {
  if (!isChild()) return registry.metrics();
  const id = ++lastAsk;
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      finish();
      reject(new Error("the other processes did not answer"));
    }, 2 * METRICS_WAIT_MS);
    const take = (message: unknown) => {
      const parsed = merged.safeParse(message);
      if (!parsed.success || parsed.data.id !== id) return;
      finish();
      resolve(parsed.data.text);
    };
    const finish = () => {
      clearTimeout(timer);
      process.off("message", take);
    };
    process.on("message", take);
    process.send?.({ kind: "ask-metrics", id });
  });
}

/** Lets the parent collect this process's metrics. Ends the process when the parent is gone. */
export function reportToParent(registry: Registry): void {
  if (!isChild()) return;
  process.on("message", (message) => {
    if (!collect.safeParse(message).success) return;
    void registry.getMetricsAsJSON().then((values) => process.send?.({ kind: "metrics", values }));
  });
  process.once("disconnect", () => process.kill(process.pid, "SIGTERM"));
}
