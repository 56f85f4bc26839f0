import { ATTACKS } from "./attacks/index.ts";
import { runBench, type Options } from "./options.ts";
import { readDemoStack } from "./stack.ts";

/**
 * `npm run bench:attack -- --name NAME [--json]`: runs one attack of `bench/attacks/` on the running stack and prints its
 * figures.
 */
const CHOICES = { name: Object.keys(ATTACKS) };

type NoNumbers = { [Name in never]: { otherwise: number; from: number; to: number } };

async function main({ name, json }: Options<NoNumbers, typeof CHOICES>): Promise<number> {
  const attack = name === null ? undefined : ATTACKS[name];
  if (!attack) {
    process.stderr.write(`--name takes ${CHOICES.name.join(", ")}\n`);
    return 2;
  }
  const write = (line: string) => {
    if (!json) process.stdout.write(`${line}\n`);
  };
  const figures = await attack(readDemoStack(), write);
  if (json) process.stdout.write(`${JSON.stringify({ name, figures })}\n`);
  else for (const [figure, value] of Object.entries(figures)) write(`${figure} ${String(value)}`);
  return 0;
}

await runBench({}, main, CHOICES);
