import { z } from "zod";

/** The messages between the parent and its processes. */

/** The parent asks a process for its metrics. */
export const collectRequest = z.object({ kind: z.literal("collect-metrics") });

/** A process answers with its metrics. */
export const collectReply = z.object({ kind: z.literal("metrics"), values: z.array(z.unknown()) });

/** A process asks the parent for the metrics of all. */
export const mergeRequest = z.object({ kind: z.literal("ask-metrics"), id: z.int() });

/** The parent answers with the sum of all. */
export const mergeReply = z.object({ kind: z.literal("merged-metrics"), id: z.int(), text: z.string() });

/** How long a process may take to answer. */
export const COLLECT_WAIT_MS = 2_000;

/** The argument that marks a process as started by a parent. */
export const CHILD_ARGUMENT = "OMC_REALTIME_CHILD";

/** Whether a parent has started this process. */
export function isChild(): boolean {
  return process.send !== undefined && process.argv.includes(CHILD_ARGUMENT);
}
