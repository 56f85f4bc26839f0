import { parseArgs } from "node:util";
import { z } from "zod";

/** A whole number that a bench takes: what it is without being told, and its bounds, both included. */
type NumberOption = { otherwise: number; from: number; to: number };
type NumberOptions = Record<string, NumberOption>;

export type Options<N extends NumberOptions> = { [Name in keyof N]: number } & { json: boolean };

/**
 * Reads `--name N` for each of the numbers, and `--json`.
 * @throws Error for what is not one of them or out of bounds; its message says what is taken
 */
export function parseOptions<N extends NumberOptions>(args: string[], numbers: N): Options<N> {
  const { values } = parseArgs({
    args,
    options: {
      ...Object.fromEntries(Object.keys(numbers).map((name) => [name, { type: "string" as const }])),
      json: { type: "boolean", default: false },
    },
  });
  const shape = Object.entries(numbers).map(([name, { otherwise, from, to }]) => {
    const error = `--${name} takes a whole number from ${String(from)} to ${String(to)}`;
    return [name, z.coerce.number({ error }).int(error).min(from, error).max(to, error).default(otherwise)];
  });
  const read = z.object(Object.fromEntries(shape)).extend({ json: z.boolean() }).safeParse(values);
  if (!read.success) throw new Error(read.error.issues.map(({ message }) => message).join("\n"));
  return read.data as Options<N>;
}

/** Runs a bench with its options and ends the process with its exit code: 2 for wrong use. */
export async function runBench<N extends NumberOptions>(
  numbers: N,
  run: (options: Options<N>) => Promise<number>,
): Promise<never> {
  let options: Options<N>;
  try {
    options = parseOptions(process.argv.slice(2), numbers);
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.exit(2);
  }
  process.exit(await run(options));
}
