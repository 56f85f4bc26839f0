import { setTimeout as sleep } from "node:timers/promises";

const MAX_WAIT_S = 30;
/** Requests that wait at once in a process, of all tenants. */
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

/** `places`: how many requests of the tenant wait at once. */
export type SettleOptions = { waitS: number; signal: AbortSignal; tenantId: string; places: number };
/** `isKept`: whether the request waited as long as it preferred, or had no need to. */
export type Settled<T> = { value: T; isKept: boolean };
export type LongPoll = <T>(
  first: T,
  read: () => Promise<T>,
  isFinal: (value: T) => boolean,
  options: SettleOptions,
) => Promise<Settled<T>>;

/**
 * Reads a value with growing pauses until it is final. A request for which there is no place gets the first value. A tenant
 * has no more places than are still free, so that however many tenants wait, another one finds a place.
 */
export function createLongPoll(): LongPoll {
  const waitingOf = new Map<string, number>();
  let waiting = 0;
  const count = (tenantId: string, change: 1 | -1) => {
    const own = (waitingOf.get(tenantId) ?? 0) + change;
    waiting += change;
    if (own === 0) waitingOf.delete(tenantId);
    else waitingOf.set(tenantId, own);
  };
  return async (first, read, isFinal, { waitS, signal, tenantId, places }) => {
    if (waitS === 0 || isFinal(first)) return { value: first, isKept: waitS > 0 };
    const own = waitingOf.get(tenantId) ?? 0;
    if (own >= Math.min(places, MAX_WAITING - waiting)) return { value: first, isKept: false };
    count(tenantId, 1);
    try {
      const untilMs = performance.now() + waitS * 1_000;
      return { value: await readUntil(first, read, isFinal, { untilMs, signal }), isKept: true };
    } finally {
      count(tenantId, -1);
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
