import { rowsOf, type Db } from "../connection/open.ts";
import type { User } from "./users.ts";

/** A tenant's existing users in the order of their ids, after `cursor` (an id). */
export function listUsers(
  db: Db,
  tenantId: string,
  { limit, cursor }: { limit: number; cursor: string | null },
): Promise<User[]> {
  return rowsOf<User>(
    db,
    `select u.* from users u
      where u.tenant_id = :tenantId and u.deleted_at is null ${cursor === null ? "" : "and u.external_id > :cursor"}
      order by u.external_id limit :limit`,
    { tenantId, limit, ...(cursor === null ? {} : { cursor }) },
  );
}

/** The existing users of these ids, in the order of the list. */
export function findUsers(db: Db, tenantId: string, names: readonly string[]): Promise<User[]> {
  return rowsOf<User>(
    db,
    `select u.* from unnest(cast(:names as text[])) with ordinality as asked(name, place)
       join users u on u.tenant_id = :tenantId and u.external_id = asked.name and u.deleted_at is null
      order by asked.place`,
    { tenantId, names: [...names] },
  );
}
