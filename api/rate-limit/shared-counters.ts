import { RateLimiterMemory, RateLimiterRedis, RateLimiterRes } from "rate-limiter-flexible";
import type { Redis } from "../../shared/platform/redis.ts";

/** What is counted under a key: at most `most` in `windowS` seconds, beginning with the first. */
export type Bound = { key: string; most: number; windowS: number };

/** Counts one under each bound. Answers, in their order, how long to wait in milliseconds: 0 within the bound. */
export type CountAll = (bounds: readonly Bound[]) => Promise<number[]>;

/** How long a request waits for the shared counters. */
const REDIS_LIMIT_MS = 50;
/** How long a Redis that failed or was late is left out, so that not every request waits for it. */
const LEFT_OUT_MS = 1_000;
const KINDS_AT_MOST = 200;
/** Below this share of its bound, a key's requests do not wait to be counted. */
const FREE_SHARE = 0.5;
const STANDINGS_AT_MOST = 20_000;

/** How long requests that need not wait are kept, to be counted together. */
const COUNT_AFTER_MS = 50;

/** What is known of a key: `counted` in the window that ends at `untilMs`, and how many are being counted. */
type RoomAccess = { counted: number; asking: number; untilMs: number };

type Counters = { shared: RateLimiterRedis; own: RateLimiterMemory };

/**
 * Counters shared by all processes through Redis: all bounds of a request in one round trip, who is over not asked for
 * again until the window ends. While Redis is away or slow each process counts for itself, so that a caller may have
 * its limit once per process. What is kept in memory is a few numbers for each caller of the last window.
 *
 * Who is far from all its bounds is not kept waiting: such requests are counted together, 50 ms later at most. So a
 * caller that many processes serve may be served beyond a bound for as long as one of them does not know of the others'
 * counts: that time and one answer of Redis.
 */
export function createSharedCounters(redis: Redis, now: () => number, onLeftOut: () => void): CountAll {
  const states = new Map<string, RoomAccess>();
  // By key, what is to be counted soon.
  const kept = new Map<string, Ask>();
  const count = createCount(redis, now, onLeftOut);
  const stateOf = ({ key }: Bound): RoomAccess => {
    const known = states.get(key);
    if (known && (known.untilMs > now() || known.asking > 0 || kept.has(key))) return known;
    const fresh = { counted: OVER, asking: 0, untilMs: 0 };
    if (states.size >= STANDINGS_AT_MOST) states.clear();
    states.set(key, fresh);
    return fresh;
  };
  const ask = async (asks: readonly Ask[]): Promise<number[]> => {
    for (const { access, points } of asks) access.asking += points;
    const counts = await count(asks);
    for (const [index, { access, points }] of asks.entries()) {
      const { counted = OVER, forMs = 0 } = counts[index] ?? {};
      access.asking -= points;
      access.counted = counted;
      access.untilMs = now() + forMs;
    }
    return counts.map(({ waitMs }) => waitMs);
  };
  const countKept = (keys: readonly string[]): void => {
    const asks = keys.flatMap((key) => kept.get(key) ?? []);
    for (const key of keys) kept.delete(key);
    if (asks.length > 0) void ask(asks);
  };
  const keep = (asks: readonly Ask[]): void => {
    if (kept.size === 0) {
      setTimeout(() => {
        countKept([...kept.keys()]);
      }, COUNT_AFTER_MS).unref();
    }
    for (const one of asks) {
      const { key } = one.bound;
      kept.set(key, { ...one, points: one.points + (kept.get(key)?.points ?? 0) });
    }
  };
  /** Whether it is far from the bound, whatever is on its way included. */
  const isFree = ({ bound, access: { counted, asking } }: Ask): boolean =>
    counted + asking + (kept.get(bound.key)?.points ?? 0) < bound.most * FREE_SHARE;
  return async (bounds) => {
    const asks = bounds.map((bound): Ask => ({ bound, access: stateOf(bound), points: 1 }));
    if (asks.every(isFree)) {
      keep(asks);
      return bounds.map(() => 0);
    }
    // Redis takes them in this order, so that the count is whole.
    countKept(bounds.map(({ key }) => key));
    return ask(asks);
  };
}

/** Counts in Redis, or for this process alone while Redis is away or slow. Never fails. Answers in the order asked. */
function createCount(
  redis: Redis,
  now: () => number,
  onLeftOut: () => void,
): (asks: readonly Ask[]) => Promise<Count[]> {
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
  return async (asks) => {
    const each = asks.map(({ bound, points }) => ({ key: bound.key, points, ...countersOf(bound) }));
    if (redis.status === "ready" && now() >= leftOutUntilMs) {
      const counts = await withinLimit(
        Promise.all(each.map(({ shared, key, points }) => consume(shared, key, points))),
      );
      if (counts) return counts;
      leftOutUntilMs = now() + LEFT_OUT_MS;
    }
    onLeftOut();
    return Promise.all(each.map(({ own, key, points }) => consume(own, key, points)));
  };
}

/** `points` to be counted under a bound. */
type Ask = { bound: Bound; access: RoomAccess; points: number };

/** Not known, or beyond the bound. */
const OVER = Number.POSITIVE_INFINITY;

/** `counted` in the window that ends in `forMs`. */
type Count = { waitMs: number; counted: number; forMs: number };

/** @throws what Redis throws. */
async function consume(
  counter: RateLimiterRedis | RateLimiterMemory,
  key: string,
  points: number,
): Promise<Count> {
  try {
    const { consumedPoints, msBeforeNext } = await counter.consume(key, points);
    return { waitMs: 0, counted: consumedPoints, forMs: msBeforeNext };
  } catch (refused) {
    if (!(refused instanceof RateLimiterRes)) throw refused;
    return { waitMs: Math.max(1, refused.msBeforeNext), counted: OVER, forMs: refused.msBeforeNext };
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
