import { LRUCache } from "lru-cache";
import { AppError } from "../../shared/contract/errors.ts";

/** How old the count of a tenant may be: of one that is near its limit, and of any other. */
const NEAR_COUNT_MS = 1_000;
const FAR_COUNT_MS = 10_000;
const RETRY_AFTER_MS = 5_000;
const MAX_TENANTS = 10_000;

/**
 * Accepts a message or an act if fewer than `limit` of its tenant wait for Matrix; returns null if not. One that is refused or
 * replayed does not count.
 */
export type WithinQuota = <A extends { outcome: string }>(
  tenantId: string,
  limit: number,
  accept: () => Promise<A>,
) => Promise<A | null>;

/** The waiting messages of a tenant: those in Postgres a moment ago, and those that this process accepted since. */
type Usage = {
  counted: Promise<number>;
  /** What `counted` brought; null until then. */
  waiting: number | null;
  readAtMs: number;
  acceptedSince: number;
};

/** `count` sums the counters of a tenant's rooms. It is called once in 10 s and tenant, near the limit once a second. */
export function createMessageQuota(
  count: (tenantId: string) => Promise<number>,
  now: () => number,
): WithinQuota {
  const usages = new LRUCache<string, Usage>({ max: MAX_TENANTS });
  const readUsage = (tenantId: string): Usage => {
    const usage: Usage = { counted: count(tenantId), waiting: null, readAtMs: now(), acceptedSince: 0 };
    usages.set(tenantId, usage);
    usage.counted.then(
      (waiting) => (usage.waiting = waiting),
      () => usages.delete(tenantId),
    );
    return usage;
  };
  return async (tenantId, limit, accept) => {
    const known = usages.get(tenantId);
    const usage = known && !isStale(known, limit, now()) ? known : readUsage(tenantId);
    // Counted before the first await, so that simultaneous requests do not share one place.
    const place = ++usage.acceptedSince;
    let isAccepted = false;
    try {
      if ((await usage.counted) + place > limit) return null;
      const acceptance = await accept();
      isAccepted = acceptance.outcome === "accepted" || acceptance.outcome === "done";
      return acceptance;
    } finally {
      if (!isAccepted) usage.acceptedSince--;
    }
  };
}

function isStale({ waiting, readAtMs, acceptedSince }: Usage, limit: number, nowMs: number): boolean {
  if (waiting === null) return false;
  const isNear = waiting + acceptedSince >= limit / 2;
  return nowMs - readAtMs >= (isNear ? NEAR_COUNT_MS : FAR_COUNT_MS);
}

export function overQuotaError(of: "room" | "tenant"): AppError {
  return new AppError(
    "unavailable",
    `Too many messages of this ${of} wait for the chat server. Try again later.`,
    {
      retryAfterMs: RETRY_AFTER_MS,
    },
  );
}
