import { Model } from "objection";
import { newId, randomToken } from "../../platform/ids.ts";
import type { UserResource } from "../../contract/resources.ts";
import { execute, rowsOf, type Db } from "../connection/open.ts";
import { PROVISIONING_DUE } from "../provisioning-due.ts";
import { profileChanged } from "./profile-changes.ts";
import { requirePendingQuota } from "../tenants/pending-quota.ts";
import { StaleView, transact } from "../connection/transaction.ts";

/**
 * A user of a tenant, and the desired state of an account on Matrix.
 *
 * - `desired_version`: each change of name or avatar, and the deletion, adds one (`putUser` and `markUserDeleted`, by the
 *   api). `applied_version`: the version that the jobs have applied; above 0, the account exists (`user-provisioning.ts`).
 * - status pending → ready: the jobs have applied the desired version. pending → failed: the provisioning job failed in a
 *   way that time does not repair. failed → pending: the tenant changes the user. A `locked` user may not connect or send.
 * - deleted: `deleted_at` is set. The name is free; the job removes the account. `erasures.ts` empties what the user wrote.
 */
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
  /** See `user-tokens.ts`. */
  declare tokens_valid_from: Date;
  declare product_tokens_valid_from: Date;
  declare created_at: Date;
  declare deleted_at: Date | null;
}

export type DesiredUser = { displayName: string | null; avatar: string | null };

/** The existing user of a name; a deleted one is not found. */
export async function findUser(db: Db, tenantId: string, name: string): Promise<User | undefined> {
  return User.query(db).findOne({ tenant_id: tenantId, external_id: name, deleted_at: null });
}

/**
 * Creates or changes a user. A user who has the desired fields is not changed; with `desired` null no user is changed.
 * Two calls at once create one user.
 * @throws AppError `unavailable` when the tenant has too many pending users for one more.
 */
export async function putUser(
  db: Db,
  tenantId: string,
  name: string,
  desired: DesiredUser | null,
): Promise<User> {
  const existing = await findUser(db, tenantId, name);
  if (existing && (desired === null || isUserAsDesired(existing, desired))) return existing;
  return transact(db, async (trx) => {
    if (!existing) await requirePendingQuota(trx, tenantId, "users", 1);
    await insertUsers(trx, tenantId, [{ name, ...(desired ?? NO_FIELDS) }]);
    if (desired) await changeUser(trx, tenantId, name, desired);
    const user = await findUser(trx, tenantId, name);
    if (!user) throw new StaleView("the user was deleted while being changed");
    return user;
  });
}

/** Changes the given fields of a user, and leaves the others as they are. Undefined if there is no such user. */
export function patchUser(
  db: Db,
  tenantId: string,
  name: string,
  fields: Partial<DesiredUser>,
): Promise<User | undefined> {
  return transact(db, async (trx) => {
    const user = await User.query(trx)
      .findOne({ tenant_id: tenantId, external_id: name, deleted_at: null })
      .forNoKeyUpdate();
    if (!user) return undefined;
    const desired = { displayName: user.display_name, avatar: user.avatar, ...fields };
    if (isUserAsDesired(user, desired)) return user;
    await changeUser(trx, tenantId, name, desired);
    return findUser(trx, tenantId, name);
  });
}

const NO_FIELDS: DesiredUser = { displayName: null, avatar: null };

function isUserAsDesired(user: User, { displayName, avatar }: DesiredUser): boolean {
  return user.display_name === displayName && user.avatar === avatar;
}

async function changeUser(trx: Db, tenantId: string, name: string, desired: DesiredUser): Promise<void> {
  await execute(
    trx,
    `update users
        set display_name = :displayName, avatar = :avatar, ${profileChanged("display_name", ":displayName")}
      where tenant_id = :tenantId and external_id = :name and deleted_at is null
        and (display_name is distinct from :displayName or avatar is distinct from :avatar)`,
    { tenantId, name, ...desired },
  );
}

/** A user whose row is locked against a deletion until the transaction ends. */
export type ExistingUser = {
  id: string;
  external_id: string;
  display_name: string | null;
  avatar: string | null;
};

/**
 * The users of these names, by name, locked against a deletion. Those that do not exist are created.
 * @throws AppError `unavailable` when the tenant has too many pending users for all of them.
 */
export async function ensureUsers(
  trx: Db,
  tenantId: string,
  names: readonly string[],
): Promise<Map<string, ExistingUser>> {
  const users = await lockKnownUsers(trx, tenantId, names);
  const missing = names.filter((name) => !users.has(name));
  if (missing.length === 0) return users;
  await requirePendingQuota(trx, tenantId, "users", missing.length);
  await insertUsers(
    trx,
    tenantId,
    missing.map((name) => ({ name, ...NO_FIELDS })),
  );
  for (const [name, user] of await lockKnownUsers(trx, tenantId, missing)) users.set(name, user);
  return users;
}

/** Locks the existing users of these names against a deletion, in the order of their names. Returns them by name. */
export async function lockKnownUsers(
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

/** Inserts users that do not exist, in the order of their names, each with a new Matrix id. Returns the ids of those. */
export async function insertUsers(
  db: Db,
  tenantId: string,
  users: readonly (DesiredUser & { name: string })[],
): Promise<string[]> {
  const made = await rowsOf<{ id: string }>(
    db,
    `insert into users (id, tenant_id, external_id, display_name, avatar, matrix_user_id)
     select n.id, t.id, n.name, n.display_name, n.avatar, '@omc_' || n.localpart || ':' || h.server_name
       from unnest(cast(:ids as uuid[]), cast(:names as text[]), cast(:displayNames as text[]), cast(:avatars as text[]),
                   cast(:localparts as text[])) as n(id, name, display_name, avatar, localpart)
       join tenants t on t.id = :tenantId
       join homeservers h on h.id = t.homeserver_id
      order by n.name
         on conflict (tenant_id, external_id) where deleted_at is null do nothing
     returning id`,
    {
      tenantId,
      ids: users.map(() => newId()),
      names: users.map((user) => user.name),
      displayNames: users.map((user) => user.displayName),
      avatars: users.map((user) => user.avatar),
      localparts: users.map(() => randomToken(20)),
    },
  );
  // A statement of its own: the insert may have waited for the deletion of the former user, which it does not see.
  const ids = made.map(({ id }) => id);
  if (ids.length > 0) await execute(db, REFUSE_TOKENS_OF_FORMER, [ids]);
  return ids;
}

// A product's clock may be 30 s ahead, and its tokens have whole seconds.
const REFUSE_TOKENS_OF_FORMER = `
  update users u set product_tokens_valid_from = former.deleted_at + interval '31 s'
    from (select made.id, max(d.deleted_at) as deleted_at
            from users made
            join users d on d.tenant_id = made.tenant_id and d.external_id = made.external_id and d.deleted_at is not null
           where made.id = any(?) group by made.id) former
   where u.id = former.id`;

/** Locks a user until the transaction ends: no membership can be added. Returns false when the user is deleted. */
export async function lockUser(trx: Db, tenantId: string, userId: string): Promise<boolean> {
  const rows = await rowsOf<{ id: string }>(
    trx,
    "select id from users where tenant_id = ? and id = ? and deleted_at is null for update",
    [tenantId, userId],
  );
  return rows.length > 0;
}

/**
 * Marks a user deleted: the name is free, and the account is due to be removed. Lock the user's rooms before. The time is
 * that of the statement: tokens may have been signed since the transaction began.
 */
export async function markUserDeleted(trx: Db, tenantId: string, userId: string): Promise<void> {
  await execute(
    trx,
    `update users set deleted_at = clock_timestamp(), ${PROVISIONING_DUE}, attempts = 0
      where tenant_id = ? and id = ? and deleted_at is null`,
    [tenantId, userId],
  );
}

/**
 * Marks the existing users of these names deleted. Their rooms are not locked: a job ends their memberships. Returns their ids.
 */
export async function markUsersDeleted(
  trx: Db,
  tenantId: string,
  names: readonly string[],
): Promise<string[]> {
  const rows = await rowsOf<{ id: string }>(
    trx,
    `with gone as materialized (
       select u.id from users u join unnest(cast(:names as text[])) as asked(name) on asked.name = u.external_id
        where u.tenant_id = :tenantId and u.deleted_at is null order by u.external_id for update of u
     )
     update users set deleted_at = clock_timestamp(), ${PROVISIONING_DUE}, attempts = 0
      where id in (select id from gone) returning id`,
    { tenantId, names: [...names] },
  );
  return rows.map(({ id }) => id);
}

/** A user as clients see it: pending while the desired state is not on Matrix yet. */
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
