import { setTimeout as sleep } from "node:timers/promises";

const MAX_WAIT_S = 30;
const MAX_WAITING = 500;
const MIN_PAUSE_MS = 20;
const MAX_PAUSE_MS = 250;

/** The seconds that a caller prefers to wait for the outcome (`Prefer: wait=N`, RFC 7240); 0 without that preference. */
export function readPreferredWaitS(prefer: string | undefined): number {
  for (const preference of (prefer ?? "").split(",")) {
    const seconds = /^\s*wait\s*=\s*"?(\d{1,9})"?\s*(?:;.*)?$/i.exec(preference)?.[1];
    if (seconds !== undefined) return Math.min(Number(seconds), MAX_WAIT_S);
  }
  return 0;
}

export type SettleOptions = { waitS: number; signal: AbortSignal };
export type LongPoll = <T>(
  first: T,
  read: () => Promise<T>,
  isFinal: (value: T) => boolean,
  options: SettleOptions,
) => Promise<T>;

/** Reads a value with growing pauses until it is final. At most 500 requests wait; further ones get the first value. */
export function createLongPoll(): LongPoll {
  let waiting = 0;
  return async (first, read, isFinal, { waitS, signal }) => {
    if (waitS === 0 || isFinal(first) || waiting >= MAX_WAITING) return first;
    waiting++;
    try {
      return await readUntil(first, read, isFinal, { untilMs: performance.now() + waitS * 1_000, signal });
    } finally {
      waiting--;
    }
  };
}

async function readUntil<T>(
  first: T,
  read: () => Promise<T>,
  isFinal: (value: T) => boolean,
  { untilMs, signal }: { untilMs: number; signal: AbortSignal },
): Promise<T> {
  let value = first;
  let pauseMs = MIN_PAUSE_MS;
  while (!isFinal(value) && !signal.aborted) {
    const leftMs = untilMs - performance.now();
    if (leftMs <= 0) return value;
    await sleep(Math.min(pauseMs, leftMs));
    pauseMs = Math.min(pauseMs * 2, MAX_PAUSE_MS);
    value = await read();
  }
  return value;
}
