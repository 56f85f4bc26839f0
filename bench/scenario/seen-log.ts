import { readFileSync, statSync } from "node:fs";
import { z } from "zod";
import { waitFor } from "../wait.ts";

const SYNC_LOG = ".stack/logs/sync.log";
const LIMIT_MS = 30_000;
const POLL_MS = 50;
/** The log cuts milliseconds off. */
const HALF_MS = 0.5;

const seenLine = z.object({
  time: z.iso.datetime(),
  message: z.string(),
  msg: z.literal("message seen on Matrix"),
});

/** Reads in the log of the running stack's sync workers when an observer has read messages back from Matrix. */
export function openSeenLog(): {
  /** Waits until all are in the log. Times of day in milliseconds, by message id. */
  read: (ids: readonly string[]) => Promise<Map<string, number>>;
} {
  const from = statSync(SYNC_LOG).size;
  return {
    read: async (ids) => {
      let seen = new Map<string, number>();
      const hasAll = () => {
        seen = readSeen(from);
        return Promise.resolve(ids.every((id) => seen.has(id)));
      };
      await waitFor(LIMIT_MS, "the observer has read all messages", hasAll, POLL_MS);
      return seen;
    },
  };
}

function readSeen(from: number): Map<string, number> {
  const lines = readFileSync(SYNC_LOG).subarray(from).toString("utf8").split("\n");
  return new Map(
    lines.flatMap((line) => {
      const parsed = seenLine.safeParse(parseJson(line));
      return parsed.success ? [[parsed.data.message, Date.parse(parsed.data.time) + HALF_MS] as const] : [];
    }),
  );
}

function parseJson(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    // A line that is being written.
    return null;
  }
}
