import { setTimeout as sleep } from "node:timers/promises";

/** Waits for a condition. @throws when it does not hold within the limit */
export async function until(
  isTrue: () => boolean | Promise<boolean>,
  what: string,
  limitMs = 5_000,
): Promise<void> {
  const endMs = performance.now() + limitMs;
  while (!(await isTrue())) {
    if (performance.now() > endMs) throw new Error(`did not happen within ${limitMs} ms: ${what}`);
    await sleep(10);
  }
}
