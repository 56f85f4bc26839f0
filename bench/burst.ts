import { measureBurst, type Outcome } from "./burst/measure.ts";
import { describeOutcome } from "./burst/print.ts";
import { readMatrixAccess } from "./matrix/access.ts";
import { runBench, type Options } from "./options.ts";
import { readDemoStack, SYNAPSE_DATA } from "./stack.ts";

/**
 * `npm run bench:burst [-- --people N --sockets N --rate N --seconds N --json]`, on the running stack: people in one event
 * room write faster than the homeserver takes messages. When does everybody have a message with its number, what does
 * somebody see who opens the room meanwhile, when has Matrix caught up, and does another tenant notice? A bare loop of sends
 * on the same homeserver follows, for comparison. Exit code 1 when a socket lacks a message, or a post was refused.
 */
const NUMBERS = {
  people: { otherwise: 300, from: 1, to: 1_000 },
  sockets: { otherwise: 100, from: 1, to: 500 },
  rate: { otherwise: 150, from: 1, to: 1_000 },
  seconds: { otherwise: 60, from: 2, to: 600 },
};

async function main({ json, ...options }: Options<typeof NUMBERS>): Promise<number> {
  const stack = readDemoStack();
  const matrix = readMatrixAccess();
  const write = (line: string) => {
    if (!json) process.stdout.write(`${line}\n`);
  };
  const outcome = await measureBurst(stack, matrix, options, write);
  if (json) process.stdout.write(`${JSON.stringify({ ...options, ...outcome })}\n`);
  write(SYNAPSE_DATA);
  for (const line of describeOutcome(options, outcome)) write(line);
  return isKept(outcome) ? 0 : 1;
}

function isKept({ accepted, posted, lost, doubled, reordered }: Outcome): boolean {
  return accepted === posted && lost === 0 && doubled === 0 && reordered === 0;
}

await runBench(NUMBERS, main);
