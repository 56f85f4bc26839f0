import type { ChildProcess } from "node:child_process";
import { mergeMetrics, type MetricValues, type Registry } from "../../shared/platform/metrics.ts";
import {
  COLLECT_WAIT_MS,
  collectReply,
  collectRequest,
  isChild,
  mergeReply,
  mergeRequest,
} from "./messages.ts";

/** In the parent: answers a process that asks for the metrics of all. */
export async function answerMergeRequest(
  children: ReadonlySet<ChildProcess>,
  child: ChildProcess,
  message: unknown,
): Promise<void> {
  const request = mergeRequest.safeParse(message);
  if (!request.success) return;
  const replies = await Promise.all([...children].map(collectFrom));
  const text = await mergeMetrics(replies.flatMap((values) => (values ? [values] : [])));
  if (child.connected) child.send({ kind: "merged-metrics", id: request.data.id, text });
}

/** The metrics of a process; null when it does not answer in time. */
function collectFrom(child: ChildProcess): Promise<MetricValues | null> {
  return new Promise((resolve) => {
    const finish = (values: MetricValues | null) => {
      clearTimeout(timer);
      child.off("message", receive);
      resolve(values);
    };
    const receive = (message: unknown) => {
      const parsed = collectReply.safeParse(message);
      if (parsed.success) finish(parsed.data.values);
    };
    const timer = setTimeout(() => {
      finish(null);
    }, COLLECT_WAIT_MS);
    child.on("message", receive);
    child.send({ kind: "collect-metrics" }, (error) => {
      if (error) finish(null);
    });
  });
}

let lastId = 0;

/** The metrics of this process, or of all when it is one of several. */
export async function readAllMetrics(registry: Registry): Promise<string> {
  if (!isChild()) return registry.metrics();
  const id = ++lastId;
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      finish();
      reject(new Error("the parent process did not answer"));
    }, 2 * COLLECT_WAIT_MS);
    const receive = (message: unknown) => {
      const parsed = mergeReply.safeParse(message);
      if (!parsed.success || parsed.data.id !== id) return;
      finish();
      resolve(parsed.data.text);
    };
    const finish = () => {
      clearTimeout(timer);
      process.off("message", receive);
    };
    process.on("message", receive);
    process.send?.({ kind: "ask-metrics", id });
  });
}

/** In a child: answers the parent's requests for metrics. Ends the process when the parent is gone. */
export function reportToParent(registry: Registry): void {
  if (!isChild()) return;
  process.on("message", (message) => {
    if (!collectRequest.safeParse(message).success) return;
    void registry.getMetricsAsJSON().then((values) => process.send?.({ kind: "metrics", values }));
  });
  process.once("disconnect", () => process.kill(process.pid, "SIGTERM"));
}
