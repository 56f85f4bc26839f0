import { rowsOf, type Db } from "../connection/open.ts";

/** A person of the tenant: as an event on Matrix names the person, and as our texts do. */
export type NamedPersonRow = { matrix_user_id: string; user: string; name: string };

/** Users of a tenant by its own ids; the deleted ones are left out. One query. */
export function findNamedPeople(
  db: Db,
  tenantId: string,
  users: readonly string[],
): Promise<NamedPersonRow[]> {
  return rowsOf<NamedPersonRow>(
    db,
    `select u.matrix_user_id, u.external_id as user, coalesce(u.display_name, u.external_id) as name
       from jsonb_array_elements_text(cast(:users as jsonb)) as n(name)
       join users u on u.tenant_id = :tenantId and u.external_id = n.name and u.deleted_at is null`,
    { tenantId, users: JSON.stringify(users) },
  );
}
