import { parseArgs } from "node:util";
import { perform, type ScenarioResult } from "./scenario/scenario.ts";
import { printScenarioResult, summaryLine } from "./scenario/print.ts";
import { readDemoStack } from "./scenario/stack.ts";

/** `npm run demo [-- --messages N --kill workers|sync|realtime --json]`: 0 all kept, 1 not, 2 no stack or wrong use. */
const TIERS = ["workers", "sync", "realtime"] as const;

function readOptions(): { messages: number; kill: (typeof TIERS)[number] | null; json: boolean } {
  const { values } = parseArgs({
    options: {
      messages: { type: "string" },
      kill: { type: "string" },
      json: { type: "boolean", default: false },
    },
  });
  const messages = Number(values.messages ?? "40");
  const kill = TIERS.find((tier) => tier === values.kill) ?? null;
  if (!Number.isInteger(messages) || messages < 1 || messages > 100_000)
    throw new Error("--messages takes 1 to 100000");
  if (values.kill !== undefined && kill === null) throw new Error(`--kill takes ${TIERS.join(", ")}`);
  return { messages, kill, json: values.json };
}

function isKept({ verdict }: ScenarioResult): boolean {
  return (
    verdict.lost === 0 &&
    verdict.doubled === 0 &&
    verdict.reordered === 0 &&
    verdict.delivered === verdict.accepted
  );
}

let options;
try {
  options = readOptions();
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(2);
}
const stack = readDemoStack();
if (!stack) {
  process.stderr.write("no stack is running: npm run up\n");
  process.exit(2);
}
const say = (line: string) => {
  if (!options.json) process.stdout.write(`${line}\n`);
};
try {
  const performance = await perform(stack, options, say);
  if (options.json) process.stdout.write(`${JSON.stringify({ ...performance, transcripts: undefined })}\n`);
  else printScenarioResult(performance, say);
  say(summaryLine(performance));
  process.exit(isKept(performance) ? 0 : 1);
} catch (error) {
  process.stderr.write(
    `demo failed: ${error instanceof Error ? error.message : String(error)}\nIs the stack well? See .stack/logs/.\n`,
  );
  process.exit(1);
}
