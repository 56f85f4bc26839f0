import { insertObserver, listTenantsWithFullObserver } from "../../shared/db/observers/observers.ts";
import type { WorkerContext } from "../runtime/context.ts";

/** Rooms of one observer. With more, one answer of `/sync` and one initial sync take too long. */
const MAX_ROOMS = 2_000;
const TENANTS_AT_ONCE = 100;

/**
 * Adds an observer to each tenant whose newest observer has the most rooms that it may have. New rooms get the newest
 * observer; a room keeps its own. Two runs at once do no harm: one of the two new observers has no rooms.
 */
export async function addObservers({ db, log }: WorkerContext): Promise<void> {
  const full = await listTenantsWithFullObserver(db, { maxRooms: MAX_ROOMS, limit: TENANTS_AT_ONCE });
  for (const tenant of full) {
    await db.transaction((trx) => insertObserver(trx, tenant.tenant_id, tenant.server_name));
    log.info({ tenant: tenant.tenant_id }, "observer added: the newest one has all the rooms it may have");
  }
}
