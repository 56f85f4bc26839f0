import { parseArgs } from "node:util";
import { z } from "zod";
import { NoStack } from "./stack.ts";

/** A whole number that a program takes: its default, and its bounds, both included. */
type NumberOption = { otherwise: number; from: number; to: number };
type NumberOptions = Record<string, NumberOption>;
/** A word that a program takes: one of these, or none. */
type ChoiceOptions = Record<string, readonly string[]>;
type NoChoices = { [Name in never]: readonly string[] };

export type Options<N extends NumberOptions, C extends ChoiceOptions = NoChoices> = {
  [Name in keyof N]: number;
} & { [Name in keyof C]: C[Name][number] | null } & { json: boolean };

/**
 * Reads `--name N` for each of the numbers, `--name WORD` for each of the choices, and `--json`.
 * @throws Error for an unknown option or a value out of bounds; its message names what is accepted
 */
export function parseOptions<N extends NumberOptions, const C extends ChoiceOptions = NoChoices>(
  args: string[],
  numbers: N,
  choices?: C,
): Options<N, C> {
  const names = [...Object.keys(numbers), ...Object.keys(choices ?? {})];
  const { values } = parseArgs({
    args,
    options: {
      ...Object.fromEntries(names.map((name) => [name, { type: "string" as const }])),
      json: { type: "boolean", default: false },
    },
  });
  const shape = [
    ...Object.entries(numbers).map(([name, option]) => [name, numberSchema(name, option)] as const),
    ...Object.entries(choices ?? {}).map(([name, words]) => [name, choiceSchema(name, words)] as const),
  ];
  const read = z.object(Object.fromEntries(shape)).extend({ json: z.boolean() }).safeParse(values);
  if (!read.success) throw new Error(read.error.issues.map(({ message }) => message).join("\n"));
  return read.data as unknown as Options<N, C>;
}

function numberSchema(name: string, { otherwise, from, to }: NumberOption) {
  const error = `--${name} takes a whole number from ${String(from)} to ${String(to)}`;
  return z.coerce.number({ error }).int(error).min(from, error).max(to, error).default(otherwise);
}

function choiceSchema(name: string, words: readonly string[]) {
  return z
    .enum(words, { error: `--${name} takes ${words.join(", ")}` })
    .nullable()
    .default(null);
}

/** Runs a program with its options and ends the process with its exit code: 2 for wrong use or without a stack. */
export async function runBench<N extends NumberOptions, const C extends ChoiceOptions = NoChoices>(
  numbers: N,
  run: (options: Options<N, C>) => Promise<number>,
  choices?: C,
): Promise<never> {
  let options: Options<N, C>;
  try {
    options = parseOptions(process.argv.slice(2), numbers, choices);
  } catch (error) {
    return endWithUsage(error);
  }
  try {
    process.exit(await run(options));
  } catch (error) {
    if (error instanceof NoStack) return endWithUsage(error);
    throw error;
  }
}

function endWithUsage(error: unknown): never {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(2);
}
