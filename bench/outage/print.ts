import { percentile } from "../percentile.ts";
import type { Outcome } from "./measure.ts";

/** The lines that a person reads. */
export function describeOutage(minutes: number, outcome: Outcome): string[] {
  const { counts, visits, matrix, behindS } = outcome;
  const lost = counts.lost + visits.missing + outcome.missingInHistory + matrix.lost;
  return [
    `Synapse stopped for ${String(minutes)} min; ${String(counts.accepted)} messages accepted, ${String(outcome.sockets)} sockets`,
    "milliseconds                                        p50      p99      max",
    row("from a post until it is answered", outcome.answerMs),
    row("  until all sockets have it with its number", outcome.deliveredMs),
    row("a new socket until it has its rooms", visits.connectMs),
    row("a page of a room", visits.pageMs),
    row("a socket that comes back after 20 s", visits.comeBackMs),
    `new sockets ${String(visits.connectMs.length)}; pages ${String(visits.pageMs.length)}, missing on them ${String(visits.missing)}; in the whole history ${String(outcome.missingInHistory)}`,
    `subscriptions of sockets that came back ${String(visits.returned)}, recovered ${String(visits.recovered)}`,
    `on all sockets: lost ${String(counts.lost)}, doubled ${String(counts.doubled)}, reordered ${String(counts.reordered)}`,
    `on Matrix: lost ${String(matrix.lost)}, doubled ${String(matrix.doubled)}, reordered ${String(matrix.reordered)}`,
    `outage: accepted=${String(counts.accepted)} delivered=${String(counts.delivered)} lost=${String(lost)} doubled=${String(counts.doubled + matrix.doubled)} reordered=${String(counts.reordered + matrix.reordered)} matrix=${String(matrix.delivered)} behind_s=${behindS.toFixed(1)}`,
  ];
}

function row(name: string, values: readonly number[]): string {
  const cells = [0.5, 0.99, 1].map((share) => (percentile(values, share)?.toFixed(0) ?? "–").padStart(9));
  return `${name.padEnd(46)}${cells.join("")}`;
}
