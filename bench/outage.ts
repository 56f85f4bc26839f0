import { readMatrixAccess } from "./matrix/access.ts";
import { runBench, type Options } from "./options.ts";
import { measureFrozen } from "./outage/frozen.ts";
import { isKept, measureOutage } from "./outage/measure.ts";
import { describeOutage } from "./outage/print.ts";
import { readDemoStack } from "./stack.ts";

/**
 * `npm run bench:outage [-- --messages N --json]`: posting while the process of Synapse, or of Redis, is stopped.
 * `npm run bench:outage -- --minutes N`: people talk while Synapse is stopped for N minutes; then Matrix must have all of it,
 * once and in our order. Exit code 1 when something was lost, doubled or reordered, a page was not whole, or a socket that
 * came back had not recovered.
 */
const NUMBERS = {
  messages: { otherwise: 200, from: 1, to: 10_000 },
  /** 0: the first of the two. */
  minutes: { otherwise: 0, from: 0, to: 120 },
};

async function main({ messages, minutes, json }: Options<typeof NUMBERS>): Promise<number> {
  const stack = readDemoStack();
  if (minutes === 0) return measureFrozen(stack, { messages, json });
  const write = (line: string) => {
    if (!json) process.stdout.write(`${line}\n`);
  };
  const outcome = await measureOutage(stack, readMatrixAccess(), minutes, write);
  if (json) process.stdout.write(`${JSON.stringify({ minutes, ...outcome })}\n`);
  for (const line of describeOutage(minutes, outcome)) write(line);
  return isKept(outcome) ? 0 : 1;
}

await runBench(NUMBERS, main);
