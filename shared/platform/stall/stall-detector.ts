/** How often is looked, and how long something may stand still. */
export type StallLimits = { everyMs: number; limitMs: number };

/** Of each thing that should move, by its name: a text that is another one after each move. */
export type ProgressTokens = ReadonlyMap<string, string>;

/** What was seen of them, and for how long each has not moved. */
export type Samples = ReadonlyMap<string, { mark: string; stillMs: number }>;

/**
 * What is known after one more look, `everyMs` after the one before. Time is counted in looks, never by a clock: a
 * process that was frozen, or a machine that slept, has not stood still. What is not named any more is forgotten.
 */
export function updateSamples(before: Samples, marks: ProgressTokens, everyMs: number): Samples {
  return new Map(
    [...marks].map(([name, mark]) => {
      const seen = before.get(name);
      return [name, { mark, stillMs: seen?.mark === mark ? seen.stillMs + everyMs : 0 }] as const;
    }),
  );
}

/** The first that has not moved for the limit; null when all move. */
export function findStalled(sights: Samples, limitMs: number): string | null {
  for (const [name, { stillMs }] of sights) if (stillMs >= limitMs) return name;
  return null;
}
