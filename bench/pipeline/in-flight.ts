/** Runs `work(0..count-1)`, at most `width` at a time; resolves when all ended. Answers the seconds it took. */
export async function runInFlight(
  count: number,
  width: number,
  work: (index: number) => Promise<unknown>,
): Promise<number> {
  const startedAtMs = performance.now();
  let next = 0;
  const lane = async () => {
    while (next < count) await work(next++);
  };
  await Promise.all(Array.from({ length: width }, lane));
  return (performance.now() - startedAtMs) / 1_000;
}

/** Waits for a condition that is asked for every `everyMs`. @throws when it does not hold within the limit. */
export async function waitFor(
  limitMs: number,
  what: string,
  condition: () => Promise<boolean>,
  everyMs = 20,
): Promise<void> {
  const limitAtMs = performance.now() + limitMs;
  while (!(await condition())) {
    if (performance.now() > limitAtMs) throw new Error(`${what}: not within ${String(limitMs)} ms`);
    await new Promise((resolve) => setTimeout(resolve, everyMs));
  }
}
