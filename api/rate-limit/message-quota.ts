import { LRUCache } from "lru-cache";
import type { Acceptance } from "../../shared/db/messages/accept-messages.ts";
import { AppError } from "../../shared/contract/errors.ts";

const COUNT_TTL_MS = 1_000;
const RETRY_AFTER_MS = 5_000;
const MAX_TENANTS = 10_000;

/**
 * Accepts a message if fewer than `limit` messages of its tenant wait to be sent; returns null if not. A message that
 * is refused or replayed does not count.
 */
export type WithinQuota = (
  tenantId: string,
  limit: number,
  accept: () => Promise<Acceptance>,
) => Promise<Acceptance | null>;

/** The waiting messages of a tenant: those in Postgres a moment ago, and those that this process accepted since. */
type Usage = { counted: Promise<number>; acceptedSince: number };

/** `count` counts a tenant's waiting messages, up to a limit. It is called at most once a second and tenant. */
export function createMessageQuota(
  count: (tenantId: string, limit: number) => Promise<number>,
  now: () => number,
): WithinQuota {
  const usages = new LRUCache<string, Usage>({
    max: MAX_TENANTS,
    ttl: COUNT_TTL_MS,
    ttlResolution: 0,
    perf: { now },
  });
  const usageOf = (tenantId: string, limit: number): Usage => {
    const known = usages.get(tenantId);
    if (known) return known;
    const usage = { counted: count(tenantId, limit), acceptedSince: 0 };
    usages.set(tenantId, usage);
    usage.counted.catch(() => usages.delete(tenantId));
    return usage;
  };
  return async (tenantId, limit, accept) => {
    const usage = usageOf(tenantId, limit);
    // Counted before the first await, so that simultaneous requests do not share one place.
    const place = ++usage.acceptedSince;
    let isAccepted = false;
    try {
      if ((await usage.counted) + place > limit) return null;
      const acceptance = await accept();
      isAccepted = acceptance.outcome === "accepted";
      return acceptance;
    } finally {
      if (!isAccepted) usage.acceptedSince--;
    }
  };
}

export function overQuotaError(of: "room" | "tenant"): AppError {
  return new AppError("unavailable", `Too many messages of this ${of} wait to be sent. Try again later.`, {
    retryAfterMs: RETRY_AFTER_MS,
  });
}
