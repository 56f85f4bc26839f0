import { LRUCache } from "lru-cache";
import { RateLimiterMemory, RateLimiterRedis, RateLimiterRes } from "rate-limiter-flexible";
import { withTimeout } from "../../shared/platform/concurrency/with-timeout.ts";
import type { Redis } from "../../shared/platform/redis.ts";

/** A limit of one key: at most `most` requests in a window of `windowS` seconds, which begins with the first request. */
export type Bound = { key: string; most: number; windowS: number };

/** Counts one request under each bound. Returns, in their order, how many milliseconds to wait: 0 within the bound. */
export type CountAll = (bounds: readonly Bound[]) => Promise<number[]>;

export type SharedCounters = {
  countAll: CountAll;
  /**
   * How many milliseconds are left of a window whose bound is used up, as far as this process knows; 0 within the bound.
   * Counts nothing and waits for nothing.
   */
  waitMs: (bound: Bound) => number;
};

/** How long a request waits for Redis. */
const REDIS_LIMIT_MS = 50;
/** How long a process counts alone after Redis failed or was late, so that not every request waits for it. */
const REDIS_PAUSE_MS = 1_000;
/** Below this share of its bound, a key's requests are counted later, in the background. */
const DEFERRED_SHARE = 0.5;
/** How long such requests are collected. */
const DEFER_MS = 50;
const MAX_USAGES = 20_000;
const MAX_LIMITERS = 200;

/** Not known, or beyond the bound. */
const OVER = Number.POSITIVE_INFINITY;

/** What this process knows of a key: the count in the window that ends at `untilMs`, and how many it is counting now. */
type Usage = { counted: number; counting: number; untilMs: number };

/** `points` requests to count under a bound. */
type Increment = { bound: Bound; usage: Usage; points: number };

/** The answer to an increment: `counted` requests in the window that ends in `forMs`. */
type Count = { waitMs: number; counted: number; forMs: number };

type Limiters = { shared: RateLimiterRedis; own: RateLimiterMemory };

/**
 * Counters that all processes share through Redis, all bounds of a request in one round trip. A key over its bound is
 * not asked for again until its window ends. While Redis is away or slow each process counts alone, so that a caller
 * may have its limit once per process.
 *
 * A caller that is far from all its bounds does not wait for Redis: the process counts such requests together, at most
 * 50 ms later. A caller that uses many processes at once may therefore exceed a bound for that time and one round trip.
 */
export function createSharedCounters(
  redis: Redis,
  now: () => number,
  onCountedAlone: () => void,
): SharedCounters {
  // An evicted key is unknown, and an unknown key is never deferred: its next request asks Redis, after what is on its
  // way for that key. So an eviction costs one round trip and no count.
  const usages = new LRUCache<string, Usage>({ max: MAX_USAGES });
  const deferred = new Map<string, Increment>();
  const count = createCount(redis, now, onCountedAlone);
  const usageOf = ({ key }: Bound): Usage => {
    const known = usages.get(key);
    if (known && (known.untilMs > now() || known.counting > 0 || deferred.has(key))) return known;
    const unknown = { counted: OVER, counting: 0, untilMs: 0 };
    usages.set(key, unknown);
    return unknown;
  };
  const countNow = async (increments: readonly Increment[]): Promise<number[]> => {
    for (const { usage, points } of increments) usage.counting += points;
    const counts = await count(increments);
    for (const [index, { usage, points }] of increments.entries()) {
      const { counted = OVER, forMs = 0 } = counts[index] ?? {};
      usage.counting -= points;
      usage.counted = counted;
      usage.untilMs = now() + forMs;
    }
    return counts.map(({ waitMs }) => waitMs);
  };
  const countDeferred = (keys: readonly string[]): void => {
    const increments = keys.flatMap((key) => deferred.get(key) ?? []);
    for (const key of keys) deferred.delete(key);
    if (increments.length > 0) void countNow(increments);
  };
  const defer = (increments: readonly Increment[]): void => {
    if (deferred.size === 0) {
      setTimeout(() => {
        countDeferred([...deferred.keys()]);
      }, DEFER_MS).unref();
    }
    for (const increment of increments) {
      const { key } = increment.bound;
      deferred.set(key, { ...increment, points: increment.points + (deferred.get(key)?.points ?? 0) });
    }
  };
  const isFarFromBound = ({ bound, usage: { counted, counting } }: Increment): boolean =>
    counted + counting + (deferred.get(bound.key)?.points ?? 0) < bound.most * DEFERRED_SHARE;
  const countAll: CountAll = async (bounds) => {
    const increments = bounds.map((bound): Increment => ({ bound, usage: usageOf(bound), points: 1 }));
    if (increments.every(isFarFromBound)) {
      defer(increments);
      return bounds.map(() => 0);
    }
    // Redis counts in the order of the commands: the deferred requests come first, so that the answer includes them.
    countDeferred(bounds.map(({ key }) => key));
    return countNow(increments);
  };
  const waitMs: SharedCounters["waitMs"] = ({ key, most }) => {
    const usage = usages.get(key);
    return usage && usage.counted >= most ? Math.max(0, usage.untilMs - now()) : 0;
  };
  return { countAll, waitMs };
}

/** Counts in Redis, or in this process alone while Redis is away or slow. Never fails. Returns counts in the order asked. */
function createCount(
  redis: Redis,
  now: () => number,
  onCountedAlone: () => void,
): (increments: readonly Increment[]) => Promise<Count[]> {
  const limiters = new LRUCache<string, Limiters>({ max: MAX_LIMITERS });
  let aloneUntilMs = 0;
  const limitersOf = ({ most, windowS }: Bound): Limiters => {
    const name = `${most}/${windowS}`;
    const known = limiters.get(name);
    if (known) return known;
    const options = { keyPrefix: "", points: most, duration: windowS };
    const made = {
      shared: new RateLimiterRedis({ ...options, storeClient: redis, inMemoryBlockOnConsumed: most }),
      own: new RateLimiterMemory(options),
    };
    limiters.set(name, made);
    return made;
  };
  return async (increments) => {
    const each = increments.map(({ bound, points }) => ({ key: bound.key, points, ...limitersOf(bound) }));
    if (redis.status === "ready" && now() >= aloneUntilMs) {
      const counting = Promise.all(each.map(({ shared, key, points }) => consume(shared, key, points)));
      const counts = await withTimeout(
        counting.catch(() => null),
        REDIS_LIMIT_MS,
        () => null,
      );
      if (counts) return counts;
      aloneUntilMs = now() + REDIS_PAUSE_MS;
    }
    onCountedAlone();
    return Promise.all(each.map(({ own, key, points }) => consume(own, key, points)));
  };
}

/** @throws what Redis throws. */
async function consume(
  limiter: RateLimiterRedis | RateLimiterMemory,
  key: string,
  points: number,
): Promise<Count> {
  try {
    const { consumedPoints, msBeforeNext } = await limiter.consume(key, points);
    return { waitMs: 0, counted: consumedPoints, forMs: msBeforeNext };
  } catch (refused) {
    if (!(refused instanceof RateLimiterRes)) throw refused;
    return { waitMs: Math.max(1, refused.msBeforeNext), counted: OVER, forMs: refused.msBeforeNext };
  }
}
