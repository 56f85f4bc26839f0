import { execute, rowsOf, type Db } from "../connection/open.ts";
import { LEASE_MS } from "../lease.ts";

/**
 * An observer's lease makes its holder the only process that reads as this observer. It stands in `sync_positions`.
 * - free → held: `acquireObserverLeases`, by a sync process that has a place for it.
 * - held → held: `renewObserverLeases`, by the holder, every few seconds.
 * - held → free: `releaseObserverLease`, when the process stops; or time, when the holder is dead.
 */

/** An observer that this process runs. */
export type LeasedObserver = {
  observer_id: string;
  tenant_id: string;
  homeserver_id: string;
  matrix_user_id: string;
  since: string | null;
};

/** Acquires the leases of free observers, `limit` at most, each under a fence of its own. */
export function acquireObserverLeases(
  db: Db,
  limit: number,
): Promise<(LeasedObserver & { fence: string })[]> {
  return rowsOf<LeasedObserver & { fence: string }>(
    db,
    `with free as (
       select p.observer_id from sync_positions p
        where p.lease_until is null or p.lease_until < now() limit :limit for update skip locked
     )
     update sync_positions p set fence = gen_random_uuid(), lease_until = now() + :lease * interval '1 millisecond'
       from free, observers o, tenants t
      where p.observer_id = free.observer_id and o.id = p.observer_id and t.id = o.tenant_id
     returning p.observer_id, p.fence, o.tenant_id, t.homeserver_id, o.matrix_user_id, p.since`,
    { limit, lease: LEASE_MS },
  );
}

/** Renews leases. Returns the fences of those that were still held. */
export async function renewObserverLeases(db: Db, fences: readonly string[]): Promise<string[]> {
  const rows = await rowsOf<{ fence: string }>(
    db,
    `update sync_positions set lease_until = now() + ? * interval '1 millisecond'
      where fence = any(?) and lease_until > now() returning fence`,
    [LEASE_MS, fences],
  );
  return rows.map((row) => row.fence);
}

/** Releases a lease: another process can acquire it at once. */
export async function releaseObserverLease(db: Db, fence: string): Promise<void> {
  await execute(db, "update sync_positions set fence = null, lease_until = null where fence = ?", [fence]);
}
