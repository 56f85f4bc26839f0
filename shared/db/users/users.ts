import { Model } from "objection";
import { newId, randomToken } from "../../platform/ids.ts";
import type { UserResource } from "../../contract/resources.ts";
import { execute, rowsOf, type Db } from "../connection/open.ts";
import { PROVISIONING_CHANGED, PROVISIONING_DUE } from "../provisioning-due.ts";
import { StaleView, transact } from "../connection/transaction.ts";

/** A person of a tenant, and the wish for an account on Matrix. */
export class User extends Model {
  static override tableName = "users";
  declare id: string;
  declare tenant_id: string;
  declare external_id: string;
  declare display_name: string | null;
  declare avatar: string | null;
  declare matrix_user_id: string;
  declare status: "pending" | "ready" | "locked" | "failed";
  declare desired_version: number;
  declare applied_version: number;
  declare next_attempt_at: Date | null;
  declare attempts: number;
  declare error: string | null;
  declare created_at: Date;
  declare deleted_at: Date | null;
}

export type DesiredUser = { displayName: string | null; avatar: string | null };

/** The living user of that name. */
export async function findUser(db: Db, tenantId: string, name: string): Promise<User | undefined> {
  return User.query(db).findOne({ tenant_id: tenantId, external_id: name, deleted_at: null });
}

/** Brings the user into being as wished; what is as wished already is left alone. Made twice at once, it is one. */
export async function putUser(db: Db, tenantId: string, name: string, wish: DesiredUser): Promise<User> {
  const seen = await findUser(db, tenantId, name);
  if (seen?.display_name === wish.displayName && seen.avatar === wish.avatar) return seen;
  return transact(db, async (trx) => {
    await insertUsers(trx, tenantId, [{ name, ...wish }]);
    await changeUser(trx, tenantId, name, wish);
    const user = await findUser(trx, tenantId, name);
    if (!user) throw new StaleView("the user went away while being changed");
    return user;
  });
}

async function changeUser(trx: Db, tenantId: string, name: string, wish: DesiredUser): Promise<void> {
  await execute(
    trx,
    `update users
        set display_name = :displayName, avatar = :avatar, ${PROVISIONING_CHANGED}
      where tenant_id = :tenantId and external_id = :name and deleted_at is null
        and (display_name is distinct from :displayName or avatar is distinct from :avatar)`,
    { tenantId, name, ...wish },
  );
}

/** A living user, kept from being deleted until the transaction ends. */
export type ExistingUser = {
  id: string;
  external_id: string;
  display_name: string | null;
  avatar: string | null;
};

/** The users of these names, by name; unknown people are made, pending. They stay until the transaction ends. */
export async function ensureUsers(
  trx: Db,
  tenantId: string,
  names: readonly string[],
): Promise<Map<string, ExistingUser>> {
  const held = await shareLockUsers(trx, tenantId, names);
  const missing = names.filter((name) => !held.has(name));
  if (missing.length === 0) return held;
  await insertUsers(
    trx,
    tenantId,
    missing.map((name) => ({ name, displayName: null, avatar: null })),
  );
  for (const [name, user] of await shareLockUsers(trx, tenantId, missing)) held.set(name, user);
  return held;
}

/** The users of these names that exist, by name, in the order of their names; they stay until the transaction ends. */
async function shareLockUsers(
  trx: Db,
  tenantId: string,
  names: readonly string[],
): Promise<Map<string, ExistingUser>> {
  const rows = await rowsOf<ExistingUser>(
    trx,
    `select u.id, u.external_id, u.display_name, u.avatar
       from users u join unnest(cast(? as text[])) as asked(name) on asked.name = u.external_id
      where u.tenant_id = ? and u.deleted_at is null
      order by u.external_id for key share of u`,
    [names, tenantId],
  );
  return new Map(rows.map((row) => [row.external_id, row]));
}

/** Inserts who is not there, in the order of their names, each with a Matrix id never used before. */
async function insertUsers(
  db: Db,
  tenantId: string,
  users: readonly (DesiredUser & { name: string })[],
): Promise<void> {
  await execute(
    db,
    `insert into users (id, tenant_id, external_id, display_name, avatar, matrix_user_id)
     select n.id, t.id, n.name, n.display_name, n.avatar, '@omc_' || n.localpart || ':' || h.server_name
       from unnest(cast(:ids as uuid[]), cast(:names as text[]), cast(:displayNames as text[]), cast(:avatars as text[]),
                   cast(:localparts as text[])) as n(id, name, display_name, avatar, localpart)
       join tenants t on t.id = :tenantId
       join homeservers h on h.id = t.homeserver_id
      order by n.name
         on conflict (tenant_id, external_id) where deleted_at is null do nothing`,
    {
      tenantId,
      ids: users.map(() => newId()),
      names: users.map((user) => user.name),
      displayNames: users.map((user) => user.displayName),
      avatars: users.map((user) => user.avatar),
      localparts: users.map(() => randomToken(20)),
    },
  );
}

/** Keeps a living user from being given anything until the transaction ends; false when the user is gone. */
export async function lockUser(trx: Db, tenantId: string, userId: string): Promise<boolean> {
  const rows = await rowsOf<{ id: string }>(
    trx,
    "select id from users where tenant_id = ? and id = ? and deleted_at is null for update",
    [tenantId, userId],
  );
  return rows.length > 0;
}

/** Marks a user deleted: the name is free, the account is due to be cleaned up. Call it holding the user's rooms. */
export async function markUserDeleted(trx: Db, tenantId: string, userId: string): Promise<void> {
  await execute(
    trx,
    `update users set deleted_at = now(), ${PROVISIONING_DUE}, attempts = 0
      where tenant_id = ? and id = ? and deleted_at is null`,
    [tenantId, userId],
  );
}

/** What a client is shown of a user: a wish that Matrix has not heard of yet is pending. */
export function presentUser(user: User): UserResource {
  const isWaiting = user.status === "ready" && user.desired_version > user.applied_version;
  return {
    user: user.external_id,
    displayName: user.display_name,
    avatar: user.avatar,
    status: isWaiting ? "pending" : user.status,
    createdAt: user.created_at.toISOString(),
  };
}
