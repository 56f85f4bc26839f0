/** Between two reads of a condition. */
const PAUSE_MS = 15;
const LIMIT_MS = 20_000;

/**
 * Waits until `look` returns something other than null, undefined and false, and returns it.
 * @throws with `what` and the text of `explain` at the limit
 */
export async function waitUntil<T>(
  what: string,
  look: () => T | null | undefined | false | Promise<T | null | undefined | false>,
  { limitMs = LIMIT_MS, explain = () => "" }: { limitMs?: number; explain?: () => string } = {},
): Promise<T> {
  const endMs = performance.now() + limitMs;
  for (;;) {
    const found = await look();
    if (found !== null && found !== undefined && found !== false) return found;
    if (performance.now() > endMs) throw new Error(`after ${limitMs} ms still not: ${what}\n${explain()}`);
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
}
