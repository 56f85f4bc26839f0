import type { RecoveredPublication, StreamPosition } from "../protocol/frames.ts";
import type { Entry, StreamTop } from "../channels/topic-ref.ts";

/** What a command may still recover. */
export type Budget = { entries: number; bytes: number };

export type Recovery = { isRecovered: boolean; publications: RecoveredPublication[] };

const LOST: Recovery = { isRecovered: false, publications: [] };

/** How many entries a client has missed; null when nothing can be recovered from its position. */
export function countMissed(asked: StreamPosition, at: StreamTop): number | null {
  return asked.epoch === at.epoch && asked.offset <= at.number ? at.number - asked.offset : null;
}

export function byteLengthOf(entries: readonly Pick<Entry, "data">[]): number {
  let bytes = 0;
  for (const { data } of entries) bytes += Buffer.byteLength(data);
  return bytes;
}

/**
 * The entries between the client's position and `at`: all of them, or none and `isRecovered` false. `found` comes from the
 * stream or the timeline, `held` was delivered since. They may overlap and go beyond `at`.
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
  for (const { number, data } of [...parts.found, ...parts.held]) {
    const next = asked.offset + publications.length + 1;
    if (number !== next || number > at.number) continue;
    publications.push({ data, offset: number });
  }
  const bytes = byteLengthOf(publications);
  if (publications.length !== missed || bytes > budget.bytes) return LOST;
  budget.entries -= missed;
  budget.bytes -= bytes;
  return { isRecovered: true, publications };
}
