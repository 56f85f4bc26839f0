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
/** Below this share of its bound, a key's requests do not wait to be counted. */
const FREE_SHARE = 0.5;
const STANDINGS_AT_MOST = 20_000;

/** What is known of a key: `counted` in the window that ends at `untilMs`, and how many are being counted. */
type Standing = { counted: number; asking: number; untilMs: number };

type Counters = { shared: RateLimiterRedis; own: RateLimiterMemory };

/**
 * Counters shared by all processes through Redis: all bounds of a request in one round trip, who is over not asked for
 * again until the window ends. While Redis is away or slow each process counts for itself, so that a caller may have
 * its limit once per process. What is kept in memory is a few numbers for each caller of the last window.
 *
 * Who is far from all its bounds is counted without being kept waiting. So a caller that many processes serve may be
 * served beyond a bound for as long as one of them does not know of the others' counts: one answer of Redis.
 */
export function createTake(redis: Redis, now: () => number, onLeftOut: () => void): Take {
  const kinds = new Map<string, Counters>();
  const standings = new Map<string, Standing>();
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
  const standingOf = ({ key }: Bound): Standing => {
    const known = standings.get(key);
    if (known && (known.untilMs > now() || known.asking > 0)) return known;
    const fresh = { counted: OVER, asking: 0, untilMs: 0 };
    if (standings.size >= STANDINGS_AT_MOST) standings.clear();
    standings.set(key, fresh);
    return fresh;
  };
  const count = async (bounds: readonly Bound[]): Promise<Count[]> => {
    const each = bounds.map((bound) => ({ key: bound.key, ...countersOf(bound) }));
    if (redis.status === "ready" && now() >= leftOutUntilMs) {
      const counts = await withinLimit(Promise.all(each.map(({ shared, key }) => consume(shared, key))));
      if (counts) return counts;
      leftOutUntilMs = now() + LEFT_OUT_MS;
    }
    onLeftOut();
    return Promise.all(each.map(({ own, key }) => consume(own, key)));
  };
  const ask = async (bounds: readonly Bound[], known: readonly Standing[]): Promise<number[]> => {
    for (const standing of known) standing.asking++;
    const counts = await count(bounds);
    for (const [index, standing] of known.entries()) {
      const { counted = OVER, forMs = 0 } = counts[index] ?? {};
      standing.asking--;
      standing.counted = counted;
      standing.untilMs = now() + forMs;
    }
    return counts.map(({ waitMs }) => waitMs);
  };
  return async (bounds) => {
    const known = bounds.map(standingOf);
    const isFree = bounds.every(({ most }, index) => {
      const { counted, asking } = known[index] ?? { counted: most, asking: 0 };
      return counted + asking < most * FREE_SHARE;
    });
    const asked = ask(bounds, known);
    if (!isFree) return asked;
    // Never fails: without Redis the process counts for itself.
    void asked;
    return bounds.map(() => 0);
  };
}

/** Not known, or beyond the bound. */
const OVER = Number.POSITIVE_INFINITY;

/** `counted` in the window that ends in `forMs`. */
type Count = { waitMs: number; counted: number; forMs: number };

/** @throws what Redis throws. */
async function consume(counter: RateLimiterRedis | RateLimiterMemory, key: string): Promise<Count> {
  try {
    const { consumedPoints, msBeforeNext } = await counter.consume(key);
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
