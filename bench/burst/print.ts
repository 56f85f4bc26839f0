import type { BurstOptions, Outcome, Times } from "./measure.ts";
import type { OpenedPage } from "./page.ts";

/** The lines that a person reads. */
export function describeOutcome(options: BurstOptions, outcome: Outcome): string[] {
  const { people, sockets, rate, seconds } = options;
  const { numbered, answer, other } = outcome;
  const rateBare = (outcome.ratesBare[0] + outcome.ratesBare[1]) / 2;
  const { backlog, caughtUpS, ratePosting, rateDraining, ratesBare } = outcome;
  return [
    `${String(people)} people in one room, ${String(sockets)} sockets, ${String(rate)} posts a second for ${String(seconds)} s`,
    `${String(outcome.accepted)} of ${String(outcome.posted)} posts accepted, ${outcome.rate.toFixed(1)} a second`,
    ...Object.entries(outcome.refused).map(([why, times]) => `  refused ${String(times)} times: ${why}`),
    "from the post until                       p50        p99        max",
    row("  it is answered", answer),
    row("  every socket has it with its number", numbered),
    row("  (the other tenant's) is on Matrix", other),
    `not numbered on every socket when the posting ended: ${String(outcome.notNumberedAtEnd)}`,
    `over all sockets: lost ${String(outcome.lost)}, doubled ${String(outcome.doubled)}, reordered ${String(outcome.reordered)}, sockets closed ${String(outcome.closed)}`,
    "a page opened after   its newest message is   accepted and missing   answered in",
    ...outcome.pages.map(describePage),
    `Matrix was ${String(backlog)} messages behind at the end and had caught up ${caughtUpS.toFixed(1)} s later`,
    `Matrix took ${ratePosting.toFixed(1)}/s while people posted, ${rateDraining?.toFixed(1) ?? "–"}/s after that; from a bare loop ${ratesBare.map((rate) => rate.toFixed(1)).join(" before and ")} after`,
    `burst: numbered_p99=${numbered.p99Ms.toFixed(0)} missing=${outcome.pages.map(({ missing }) => String(missing)).join(",")} drained/bare=${rateDraining === null ? "–" : (rateDraining / rateBare).toFixed(2)} other_max=${other.maxMs.toFixed(0)}`,
  ];
}

function row(name: string, { p50Ms, p99Ms, maxMs }: Times): string {
  return `${name.padEnd(37)}${[p50Ms, p99Ms, maxMs].map((ms) => duration(ms).padStart(11)).join("")}`;
}

function describePage({ afterS, newestAgeMs, missing, answerMs }: OpenedPage): string {
  const newest = newestAgeMs === null ? "before the burst" : `${duration(newestAgeMs)} old`;
  return `${`${afterS.toFixed(1)} s`.padStart(19)}${newest.padStart(24)}${String(missing).padStart(23)}${duration(answerMs).padStart(14)}`;
}

function duration(ms: number): string {
  return ms < 10_000 ? `${ms.toFixed(0)} ms` : `${(ms / 1_000).toFixed(1)} s`;
}
