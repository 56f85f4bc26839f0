import type { StreamPosition } from "../protocol/json.ts";
import type { Entry, StreamTop } from "../channels/topic.ts";

/** What one command may still recover. */
export type Budget = { entries: number; bytes: number };

export type Recovery = { isRecovered: boolean; publications: { data: string; offset: number }[] };

const LOST: Recovery = { isRecovered: false, publications: [] };

/** How many entries a client lacks; null when its position cannot be recovered from. */
export function countMissed(asked: StreamPosition, at: StreamTop): number | null {
  return asked.epoch === at.epoch && asked.offset <= at.number ? at.number - asked.offset : null;
}

/**
 * What a client that asked for a position is given to stand at `at`: everything in between, or nothing at all and
 * word of it. `found` comes from the stream, `held` was delivered since; they may overlap and go beyond `at`.
 */
export function decideRecovery(
  asked: StreamPosition,
  at: StreamTop,
  parts: { found: readonly Entry[]; held: readonly Entry[] },
  budget: Budget,
): Recovery {
  const missed = countMissed(asked, at);
  if (missed === null || missed > budget.entries) return LOST;
  const publications: Recovery["publications"] = [];
  let bytes = 0;
  for (const { number, data } of [...parts.found, ...parts.held]) {
    const next = asked.offset + publications.length + 1;
    if (number !== next || number > at.number) continue;
    publications.push({ data, offset: number });
    bytes += Buffer.byteLength(data);
  }
  if (publications.length !== missed || bytes > budget.bytes) return LOST;
  budget.entries -= missed;
  budget.bytes -= bytes;
  return { isRecovered: true, publications };
}
