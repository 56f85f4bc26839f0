import { RateLimiterMemory, RateLimiterRedis, RateLimiterRes } from "rate-limiter-flexible";
import type { Redis } from "../shared/redis.ts";

/** What is counted under a key: at most `most` in `windowS` seconds, beginning with the first. */
export type Bound = { key: string; most: number; windowS: number };

/** Counts one under each bound. Answers, in their order, how long to wait in milliseconds: 0 within the bound. */
export type Take = (bounds: readonly Bound[]) => Promise<number[]>;

/** How long a request waits for the shared counters. */
const REDIS_LIMIT_MS = 50;
/** How long a Redis that failed or was late is left out, so that not every request waits for it. */
const LEFT_OUT_MS = 1_000;
const KINDS_AT_MOST = 200;

type Counters = { shared: RateLimiterRedis; own: RateLimiterMemory };

/**
 * Counters shared by all processes through Redis: all bounds of a request in one round trip, who is over not asked for
 * again until the window ends. While Redis is away or slow each process counts for itself, so that a caller may have
 * its limit once per process. What is kept in memory is one number for each caller of the last window.
 */
export function createTake(redis: Redis, now: () => number, onLeftOut: () => void): Take {
  const kinds = new Map<string, Counters>();
  let leftOutUntilMs = 0;
  const countersOf = ({ most, windowS }: Bound): Counters => {
    const name = `${most}/${windowS}`;
    const known = kinds.get(name);
    if (known) return known;
    const options = { keyPrefix: "", points: most, duration: windowS };
    const made = {
      shared: new RateLimiterRedis({ ...options, storeClient: redis, inMemoryBlockOnConsumed: most }),
      own: new RateLimiterMemory(options),
    };
    if (kinds.size >= KINDS_AT_MOST) kinds.clear();
    kinds.set(name, made);
    return made;
  };
  return async (bounds) => {
    const each = bounds.map((bound) => ({ key: bound.key, ...countersOf(bound) }));
    if (redis.status === "ready" && now() >= leftOutUntilMs) {
      const waits = await withinLimit(Promise.all(each.map(({ shared, key }) => consume(shared, key))));
      if (waits) return waits;
      leftOutUntilMs = now() + LEFT_OUT_MS;
    }
    onLeftOut();
    return Promise.all(each.map(({ own, key }) => consume(own, key)));
  };
}

/** @throws what Redis throws. */
async function consume(counter: RateLimiterRedis | RateLimiterMemory, key: string): Promise<number> {
  try {
    await counter.consume(key);
    return 0;
  } catch (refused) {
    if (refused instanceof RateLimiterRes) return Math.max(1, refused.msBeforeNext);
    throw refused;
  }
}

/** Null when it fails or takes too long. */
async function withinLimit<T>(work: Promise<T>): Promise<T | null> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<null>((resolve) => {
    timer = setTimeout(() => {
      // What came while this process was busy is read first.
      setImmediate(() => {
        resolve(null);
      });
    }, REDIS_LIMIT_MS);
  });
  try {
    return await Promise.race([work.catch(() => null), late]);
  } finally {
    clearTimeout(timer);
  }
}
