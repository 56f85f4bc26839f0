import { runBench, type Options } from "./options.ts";
import { printResult, summaryLine } from "./scenario/print.ts";
import { runScenario, type ScenarioResult } from "./scenario/scenario.ts";
import { readDemoStack } from "./stack.ts";

/** `npm run demo [-- --messages N --kill workers|sync|realtime --json]`: 0 all kept, 1 not, 2 no stack or wrong use. */
const NUMBERS = { messages: { otherwise: 40, from: 1, to: 100_000 } };
const CHOICES = { kill: ["workers", "sync", "realtime"] } as const;

async function main(options: Options<typeof NUMBERS, typeof CHOICES>): Promise<number> {
  const stack = readDemoStack();
  const write = (line: string) => {
    if (!options.json) process.stdout.write(`${line}\n`);
  };
  try {
    const result = await runScenario(stack, options, write);
    if (options.json) process.stdout.write(`${JSON.stringify(toJson(result))}\n`);
    else printResult(result, write);
    write(summaryLine(result));
    return isKept(result) ? 0 : 1;
  } catch (error) {
    process.stderr.write(
      `demo failed: ${error instanceof Error ? error.message : String(error)}\nIs the stack well? See .stack/logs/.\n`,
    );
    return 1;
  }
}

/** What `--json` prints. */
function toJson({ counts, messages, sent, recoveryMs, latencies }: ScenarioResult) {
  return { verdict: counts, messages, sent, recoveryMs, latencies };
}

function isKept({ counts, messages, sent }: ScenarioResult): boolean {
  const { accepted, delivered, lost, doubled, reordered } = counts;
  return lost === 0 && doubled === 0 && reordered === 0 && delivered === accepted && sent === messages;
}

await runBench(NUMBERS, main, CHOICES);
