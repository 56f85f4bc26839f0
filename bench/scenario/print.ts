import type { ScenarioResult } from "./scenario.ts";
import { percentile } from "../percentile.ts";

/** A longer transcript of a room is printed without its middle. */
const SHOWN = 18;

/** Prints the conversation as each user received it, and the latencies. */
export function printResult(result: ScenarioResult, write: (line: string) => void): void {
  for (const { user, rooms } of result.transcripts) {
    write("");
    write(`── as ${user} saw it ──`);
    for (const line of rooms.flatMap(withoutMiddle)) write(`  ${line}`);
  }
  write("");
  write("latency, from asking         p50 ms   p99 ms");
  const { accepted, delivered, sent, firstSent } = result.latencies;
  const rows = { accepted, delivered, "sent (on Matrix)": sent, "sent, a person's first": firstSent };
  for (const [name, values] of Object.entries(rows)) {
    write(`  ${name.padEnd(24)}${format(percentile(values, 0.5))}${format(percentile(values, 0.99))}`);
  }
  write("");
  write(`Matrix has ${String(result.sent)} of ${String(result.messages)} messages.`);
}

function withoutMiddle(lines: readonly string[]): string[] {
  const half = SHOWN / 2;
  if (lines.length <= SHOWN) return [...lines];
  return [...lines.slice(0, half), `… ${String(lines.length - SHOWN)} more …`, ...lines.slice(-half)];
}

function format(value: number | null): string {
  return (value === null ? "–" : value.toFixed(1)).padStart(9);
}

/** The last line of the demo, for people and programs. */
export function summaryLine({ counts, recoveryMs }: ScenarioResult): string {
  return (
    `demo: accepted=${String(counts.accepted)} delivered=${String(counts.delivered)} lost=${String(counts.lost)} ` +
    `doubled=${String(counts.doubled)} reordered=${String(counts.reordered)} recovery_ms=${String(recoveryMs)}`
  );
}
