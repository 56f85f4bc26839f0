/** How often samples are taken, and how long a thing may make no progress. */
export type StallLimits = { everyMs: number; limitMs: number };

/** One progress token per watched thing, by name. The token changes whenever the thing makes progress. */
export type ProgressTokens = ReadonlyMap<string, string>;

/** The last token of each thing, and for how long it has not changed. */
export type Samples = ReadonlyMap<string, { token: string; unchangedMs: number }>;

/**
 * Adds one sample, taken `everyMs` after the previous one. Time is counted in samples, never read from a clock: while a
 * process is frozen or a machine sleeps, nothing counts as stalled. A thing without a token is dropped.
 */
export function updateSamples(previous: Samples, tokens: ProgressTokens, everyMs: number): Samples {
  return new Map(
    [...tokens].map(([name, token]) => {
      const last = previous.get(name);
      return [name, { token, unchangedMs: last?.token === token ? last.unchangedMs + everyMs : 0 }] as const;
    }),
  );
}

/** The name of the first thing that made no progress for the limit; null when there is none. */
export function findStalled(samples: Samples, limitMs: number): string | null {
  for (const [name, { unchangedMs }] of samples) if (unchangedMs >= limitMs) return name;
  return null;
}
