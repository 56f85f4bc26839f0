import { execute, rowsOf, type Db } from "../connection/open.ts";
import { PROVISIONING_RESCHEDULED, type FailedProvisioning } from "../provisioning-due.ts";

/** What the jobs read and record of a user's account on Matrix. The states are described in `users.ts`. */

/** An account that the provisioning job is to bring to its desired version, or to remove. */
export type DueAccount = {
  matrix_user_id: string;
  homeserver_id: string;
  is_registered: boolean;
  is_deleted: boolean;
  attempts: number;
};

/** A user's account; undefined when it is not due, or its tenant is paused. */
export async function findDueAccount(
  db: Db,
  tenantId: string,
  userId: string,
): Promise<DueAccount | undefined> {
  const rows = await rowsOf<DueAccount>(
    db,
    `select u.matrix_user_id, t.homeserver_id, u.applied_version > 0 as is_registered,
            u.deleted_at is not null as is_deleted, u.attempts
       from users u join tenants t on t.id = u.tenant_id
      where u.tenant_id = ? and u.id = ? and u.next_attempt_at <= now() and t.status = 'active'`,
    [tenantId, userId],
  );
  return rows[0];
}

/** `has_name`: the account has the display name already, and only the avatar has changed, which Matrix does not have. */
export type DesiredProfile = {
  desired_version: number;
  display_name: string | null;
  external_id: string;
  has_name: boolean;
};

/** The profile that the tenant wants; undefined when the user is deleted. */
export async function findDesiredProfile(
  db: Db,
  tenantId: string,
  userId: string,
): Promise<DesiredProfile | undefined> {
  const rows = await rowsOf<DesiredProfile>(
    db,
    `select desired_version, display_name, external_id, applied_version > 0 and applied_version >= name_version as has_name
       from users where tenant_id = ? and id = ? and deleted_at is null`,
    [tenantId, userId],
  );
  return rows[0];
}

/** Records that the account has a version's profile. The user stays due where there is a newer one. */
export async function markProfileApplied(
  db: Db,
  tenantId: string,
  userId: string,
  version: number,
): Promise<void> {
  await execute(
    db,
    `update users set applied_version = greatest(applied_version, :version), attempts = 0, error = null,
            status = case when status = 'locked' then status when desired_version <= :version then 'ready' else 'pending' end,
            next_attempt_at = case when desired_version > :version then now() end
      where tenant_id = :tenantId and id = :userId and deleted_at is null`,
    { tenantId, userId, version },
  );
}

/** The provisioning job of a user failed: the user is due again after `delayMs`. */
export async function rescheduleUser(
  db: Db,
  tenantId: string,
  userId: string,
  failure: FailedProvisioning,
): Promise<void> {
  await execute(
    db,
    `update users set ${PROVISIONING_RESCHEDULED} where tenant_id = :tenantId and id = :userId`,
    { tenantId, userId, ...failure },
  );
}

/** Records that the account of a deleted user is removed, and with it every join. */
export async function markAccountRemoved(db: Db, tenantId: string, userId: string): Promise<void> {
  await execute(
    db,
    `with gone as (
       update memberships set applied = 'out', applied_version = version where user_id = :userId and desired = 'out'
     )
     update users set next_attempt_at = null, attempts = 0, error = null
      where tenant_id = :tenantId and id = :userId`,
    { tenantId, userId },
  );
}

/** The account of an existing user of a tenant, by the tenant's slug and its own id of the user. */
export async function findAccount(
  db: Db,
  tenantSlug: string,
  name: string,
): Promise<{ homeserver_id: string; matrix_user_id: string } | undefined> {
  const rows = await rowsOf<{ homeserver_id: string; matrix_user_id: string }>(
    db,
    `select t.homeserver_id, u.matrix_user_id from users u join tenants t on t.id = u.tenant_id
      where t.slug = ? and u.external_id = ? and u.deleted_at is null`,
    [tenantSlug, name],
  );
  return rows[0];
}
