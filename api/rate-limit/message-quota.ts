import type { Acceptance } from "../../shared/db/messages/messages.ts";
import { AppError } from "../../shared/contract/errors.ts";

const COUNT_TTL_MS = 1_000;
const RETRY_AFTER_MS = 5_000;
const TENANTS_AT_MOST = 10_000;

/**
 * Accepts a message when the tenant has a place for it among those that wait; null when it has none. What is refused or
 * replayed takes no place.
 */
export type WithinQuota = (
  tenantId: string,
  limit: number,
  accept: () => Promise<Acceptance>,
) => Promise<Acceptance | null>;

/** `count` counts a tenant's waiting messages, up to a limit; it is asked once a second. */
export function createQuota(
  count: (tenantId: string, limit: number) => Promise<number>,
  now: () => number,
): WithinQuota {
  const known = new Map<string, { count: Promise<number>; taken: number; untilMs: number }>();
  const look = (tenantId: string, limit: number) => {
    const hit = known.get(tenantId);
    if (hit && hit.untilMs > now()) return hit;
    if (known.size >= TENANTS_AT_MOST) known.clear();
    const fresh = { count: count(tenantId, limit), taken: 0, untilMs: now() + COUNT_TTL_MS };
    known.set(tenantId, fresh);
    fresh.count.catch(() => known.delete(tenantId));
    return fresh;
  };
  return async (tenantId, limit, accept) => {
    const state = look(tenantId, limit);
    // Taken before anything is waited for: requests that come at once have a place each.
    const place = ++state.taken;
    let isKept = false;
    try {
      if ((await state.count) + place > limit) return null;
      const acceptance = await accept();
      isKept = acceptance.outcome === "accepted";
      return acceptance;
    } finally {
      if (!isKept) state.taken--;
    }
  };
}

export function describeOverQuota(): AppError {
  return new AppError("unavailable", "Too many messages of this tenant wait to be sent. Try again later.", {
    retryAfterMs: RETRY_AFTER_MS,
  });
}
