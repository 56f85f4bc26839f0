import { rowsOf } from "../../shared/db/connection/open.ts";
import { insertObserver } from "../../shared/db/tenants/tenants.ts";
import type { WorkerContext } from "../runtime/context.ts";

/** Rooms of one observer; with more, one answer of `/sync` and one start anew take too long. */
const ROOMS_EACH = 2_000;
const TENANTS_AT_ONCE = 100;

/**
 * Gives a tenant whose newest observer has its fill of rooms one more: new rooms go to the newest, and a room keeps its
 * observer. Safe to race: an observer too many has no rooms.
 */
export async function addObservers({ db, log }: WorkerContext): Promise<void> {
  const full = await rowsOf<{ tenant_id: string; server_name: string }>(
    db,
    `select t.id as tenant_id, h.server_name
       from tenants t join homeservers h on h.id = t.homeserver_id
       join lateral (select id from observers where tenant_id = t.id order by created_at desc, id desc limit 1) o on true
      where t.status = 'active'
        and (select count(*) from (
               select 1 from rooms r where r.observer_id = o.id and r.deleted_at is null limit :each) counted) >= :each
      limit :limit`,
    { each: ROOMS_EACH, limit: TENANTS_AT_ONCE },
  );
  for (const tenant of full) {
    await db.transaction((trx) => insertObserver(trx, tenant.tenant_id, tenant.server_name));
    log.info({ tenant: tenant.tenant_id }, "one more observer: the newest has its fill of rooms");
  }
}
