/** Runs `work(0..count-1)`, at most `width` at a time. Returns the seconds until all have ended. */
export async function runInFlight(
  count: number,
  width: number,
  work: (index: number) => Promise<unknown>,
): Promise<number> {
  const startedAtMs = performance.now();
  let next = 0;
  const runNext = async () => {
    while (next < count) await work(next++);
  };
  await Promise.all(Array.from({ length: width }, runNext));
  return (performance.now() - startedAtMs) / 1_000;
}

type Condition = () => boolean | Promise<boolean>;

/** Waits until a condition holds; reads it every `everyMs`. Returns false when it does not hold within the limit. */
export async function holdsWithin(limitMs: number, condition: Condition, everyMs = 20): Promise<boolean> {
  const limitAtMs = performance.now() + limitMs;
  while (!(await condition())) {
    if (performance.now() > limitAtMs) return false;
    await pause(everyMs);
  }
  return true;
}

/** The same. @throws when the condition does not hold within the limit. */
export async function waitFor(
  limitMs: number,
  what: string,
  condition: Condition,
  everyMs?: number,
): Promise<void> {
  if (!(await holdsWithin(limitMs, condition, everyMs)))
    throw new Error(`${what}: not within ${String(limitMs)} ms`);
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
