import { AppError } from "../shared/errors.ts";

const COUNT_TTL_MS = 1_000;
const RETRY_AFTER_MS = 5_000;
const TENANTS_AT_MOST = 10_000;

/** Counts a message that is about to be accepted. @throws AppError `unavailable` when too many wait already. */
export type RequireQuota = (tenantId: string, limit: number) => Promise<void>;

/** `count` counts a tenant's waiting messages, up to a limit; it is asked once a second. */
export function createQuota(
  count: (tenantId: string, limit: number) => Promise<number>,
  now: () => number,
): RequireQuota {
  const known = new Map<string, { count: Promise<number>; accepted: number; untilMs: number }>();
  const look = (tenantId: string, limit: number) => {
    const hit = known.get(tenantId);
    if (hit && hit.untilMs > now()) return hit;
    if (known.size >= TENANTS_AT_MOST) known.clear();
    const fresh = { count: count(tenantId, limit), accepted: 0, untilMs: now() + COUNT_TTL_MS };
    known.set(tenantId, fresh);
    fresh.count.catch(() => known.delete(tenantId));
    return fresh;
  };
  return async (tenantId, limit) => {
    const state = look(tenantId, limit);
    state.accepted++;
    if ((await state.count) + state.accepted > limit) {
      throw new AppError(
        "unavailable",
        "Too many messages of this tenant wait to be sent. Try again later.",
        {
          retryAfterMs: RETRY_AFTER_MS,
        },
      );
    }
  };
}
