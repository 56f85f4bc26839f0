import type { RoomAddress } from "../../../contract/names.ts";
import { rowsOf, type Db } from "../../connection/open.ts";
import type { Room } from "../rooms.ts";

/** The existing rooms at some addresses. */
export function findRoomsAt(
  db: Db,
  tenantId: string,
  addresses: readonly RoomAddress[],
): Promise<(RoomAddress & { id: string })[]> {
  return rowsOf<RoomAddress & { id: string }>(
    db,
    `select r.id, r.kind, r.slug
       from (select distinct kind, slug from unnest(cast(:kinds as text[]), cast(:slugs as text[])) as a(kind, slug)) asked
       join rooms r on r.tenant_id = :tenantId and r.kind = asked.kind and r.slug = asked.slug and r.deleted_at is null`,
    { tenantId, kinds: addresses.map(({ kind }) => kind), slugs: addresses.map(({ slug }) => slug) },
  );
}

/** Rooms by their row ids, without those that are deleted. */
export function findRoomsOf(db: Db, tenantId: string, ids: readonly string[]): Promise<Room[]> {
  return rowsOf<Room>(
    db,
    "select * from rooms where tenant_id = ? and id = any(cast(? as uuid[])) and deleted_at is null",
    [tenantId, [...ids]],
  );
}
