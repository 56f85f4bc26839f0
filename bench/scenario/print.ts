import type { ScenarioResult } from "./scenario.ts";
import { percentile } from "../percentile.ts";

/** Lines of a transcript that are printed of a long conversation: its beginning and its end. */
const SHOWN = 12;

/** The conversation as each person saw it, and how long things took. */
export function printScenarioResult(performance: ScenarioResult, say: (line: string) => void): void {
  for (const { person, lines } of performance.transcripts) {
    say("");
    say(`── as ${person} saw it ──`);
    const half = SHOWN / 2;
    const isLong = lines.length > SHOWN;
    for (const line of isLong ? lines.slice(0, half) : lines) say(`  ${line}`);
    if (isLong) say(`  … ${String(lines.length - SHOWN)} more …`);
    if (isLong) for (const line of lines.slice(-half)) say(`  ${line}`);
  }
  say("");
  say("latency, from asking         p50 ms   p99 ms");
  const { accepted, pending, delivered, firstWords } = performance.latencies;
  const rows = { accepted, pending, delivered, "first words of a person": firstWords };
  for (const [name, values] of Object.entries(rows)) {
    say(`  ${name.padEnd(24)}${format(percentile(values, 0.5))}${format(percentile(values, 0.99))}`);
  }
  say("");
}

function format(value: number | null): string {
  return (value === null ? "–" : value.toFixed(1)).padStart(9);
}

/** The last line of the demo, for people and programs. */
export function summaryLine({ verdict, recoveryMs }: ScenarioResult): string {
  return (
    `demo: accepted=${String(verdict.accepted)} delivered=${String(verdict.delivered)} lost=${String(verdict.lost)} ` +
    `doubled=${String(verdict.doubled)} reordered=${String(verdict.reordered)} recovery_ms=${String(recoveryMs)}`
  );
}
