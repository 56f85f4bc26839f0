import { newId, randomToken } from "../../platform/ids.ts";
import { execute, rowsOf, type Db } from "../connection/open.ts";

/**
 * An observer is a bot account of a tenant. It creates the tenant's rooms on Matrix, stays in them, and reads them with
 * `/sync`. A room keeps its observer; new rooms get the tenant's newest one.
 */

/** Adds an observer to a tenant. */
export async function insertObserver(trx: Db, tenantId: string, serverName: string): Promise<void> {
  const id = newId();
  const matrixUserId = `@omc_${randomToken(20)}:${serverName}`;
  await trx("observers").insert({ id, tenant_id: tenantId, matrix_user_id: matrixUserId });
  await trx("sync_positions").insert({ observer_id: id });
}

/** Records that an observer's account exists. */
export async function markObserverRegistered(db: Db, observerId: string): Promise<void> {
  await execute(db, "update observers set is_registered = true where id = ?", [observerId]);
}

/** Active tenants whose newest observer has `maxRooms` rooms or more, `limit` at most. */
export function listTenantsWithFullObserver(
  db: Db,
  { maxRooms, limit }: { maxRooms: number; limit: number },
): Promise<{ tenant_id: string; server_name: string }[]> {
  return rowsOf<{ tenant_id: string; server_name: string }>(
    db,
    `select t.id as tenant_id, h.server_name
       from tenants t join homeservers h on h.id = t.homeserver_id
       join lateral (select id from observers where tenant_id = t.id order by created_at desc, id desc limit 1) o on true
      where t.status = 'active'
        and (select count(*) from (
               select 1 from rooms r where r.observer_id = o.id and r.deleted_at is null limit :maxRooms) counted) >= :maxRooms
      limit :limit`,
    { maxRooms, limit },
  );
}

/** The observer of a tenant's new rooms. */
export async function findNewestObserver(
  db: Db,
  tenantId: string,
): Promise<{ id: string; matrix_user_id: string }> {
  const [observer] = await rowsOf<{ id: string; matrix_user_id: string }>(
    db,
    "select id, matrix_user_id from observers where tenant_id = ? order by created_at desc, id desc limit 1",
    [tenantId],
  );
  if (!observer) throw new Error("the tenant has no observer");
  return observer;
}
