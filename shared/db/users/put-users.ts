import { rowsOf, type Db } from "../connection/open.ts";
import { StaleView, transact } from "../connection/transaction.ts";
import { requirePendingQuota } from "../tenants/pending-quota.ts";
import { profileChanged } from "./profile-changes.ts";
import { findUsers } from "./user-lists.ts";
import { insertUsers, type DesiredUser, type User } from "./users.ts";

/** A field that is absent stays as it is, and is null in a new user. */
export type UserChange = { name: string } & Partial<DesiredUser>;

// Locked in the order of the ids, as every transaction that locks several users does.
const CHANGE_USERS = `
  with wanted as (
    select u.id, case when n.sets_name then n.display_name else u.display_name end as display_name,
           case when n.sets_avatar then n.avatar else u.avatar end as avatar
      from users u
      join unnest(cast(:names as text[]), cast(:setsName as boolean[]), cast(:displayNames as text[]),
                  cast(:setsAvatar as boolean[]), cast(:avatars as text[]))
        as n(name, sets_name, display_name, sets_avatar, avatar) on n.name = u.external_id
     where u.tenant_id = :tenantId and u.deleted_at is null
     order by u.external_id for no key update of u
  )
  update users u set display_name = w.display_name, avatar = w.avatar, ${profileChanged("u.display_name", "w.display_name")}
    from wanted w
   where u.id = w.id and (u.display_name is distinct from w.display_name or u.avatar is distinct from w.avatar)
  returning u.id`;

/**
 * Makes and changes many users, all or none, in a number of statements that does not depend on theirs. Returns them in the
 * order of the list, with the ids of those whose account on Matrix is now to be made or changed. Each name stands once.
 * @throws AppError `unavailable` when the tenant has too many pending users for all of them.
 */
export function putUsers(
  db: Db,
  tenantId: string,
  changes: readonly UserChange[],
): Promise<{ users: User[]; dueIds: string[] }> {
  return transact(db, async (trx) => {
    const dueIds = await writeUsers(trx, tenantId, changes);
    const names = changes.map(({ name }) => name);
    const users = await findUsers(trx, tenantId, names);
    if (users.length < names.length) throw new StaleView("a user was deleted while being changed");
    return { users, dueIds };
  });
}

/** The same inside a transaction of the caller. Returns the ids of those whose account is now to be made or changed. */
export async function writeUsers(
  trx: Db,
  tenantId: string,
  changes: readonly UserChange[],
): Promise<string[]> {
  const names = changes.map(({ name }) => name);
  const existing = new Set((await findUsers(trx, tenantId, names)).map((user) => user.external_id));
  const missing = changes.filter(({ name }) => !existing.has(name));
  const made = await insertMissing(trx, tenantId, missing);
  const changed = await changeUsers(trx, tenantId, changes);
  return [...new Set([...made, ...changed])];
}

async function insertMissing(trx: Db, tenantId: string, missing: readonly UserChange[]): Promise<string[]> {
  if (missing.length === 0) return [];
  await requirePendingQuota(trx, tenantId, "users", missing.length);
  return insertUsers(
    trx,
    tenantId,
    missing.map(({ name, displayName = null, avatar = null }) => ({ name, displayName, avatar })),
  );
}

async function changeUsers(trx: Db, tenantId: string, changes: readonly UserChange[]): Promise<string[]> {
  const rows = await rowsOf<{ id: string }>(trx, CHANGE_USERS, {
    tenantId,
    names: changes.map(({ name }) => name),
    setsName: changes.map(({ displayName }) => displayName !== undefined),
    displayNames: changes.map(({ displayName = null }) => displayName),
    setsAvatar: changes.map(({ avatar }) => avatar !== undefined),
    avatars: changes.map(({ avatar = null }) => avatar),
  });
  return rows.map(({ id }) => id);
}
