import { rowsOf } from "../../shared/db/connection/open.ts";
import type { WorkerContext } from "../runtime/context.ts";
import type { Homeserver } from "../matrix/homeserver/homeserver.ts";

/** A person's account: exists after this, though perhaps not yet with the newest name. */
export async function ensureAccount(
  context: WorkerContext,
  homeserver: Homeserver,
  user: { id: string; tenantId: string; matrixUserId: string },
): Promise<void> {
  await homeserver.ensureAccount(user.matrixUserId);
  await applyProfile(context, homeserver, user);
}

type Profile = { desired_version: number; display_name: string | null; external_id: string };

/** Gives the account the name that the tenant wants; what was wanted meanwhile stays due. */
export async function applyProfile(
  context: WorkerContext,
  homeserver: Homeserver,
  user: { id: string; tenantId: string; matrixUserId: string },
): Promise<void> {
  const rows = await rowsOf<Profile>(
    context.db,
    "select desired_version, display_name, external_id from users where tenant_id = ? and id = ? and deleted_at is null",
    [user.tenantId, user.id],
  );
  const profile = rows[0];
  if (!profile) return;
  const request = await homeserver.as(user.matrixUserId);
  await request({
    method: "PUT",
    path: `/profile/${encodeURIComponent(user.matrixUserId)}/displayname`,
    body: { displayname: profile.display_name ?? profile.external_id },
  });
  await context.db.raw(
    `update users set applied_version = greatest(applied_version, :version), attempts = 0, error = null,
            status = case when status = 'locked' then status when desired_version <= :version then 'ready' else 'pending' end,
            next_attempt_at = case when desired_version > :version then now() end
      where tenant_id = :tenantId and id = :id and deleted_at is null`,
    { version: profile.desired_version, tenantId: user.tenantId, id: user.id },
  );
}

/** The observer's account, before its first room and its first reading. */
export async function ensureObserver(
  context: WorkerContext,
  homeserver: Homeserver,
  observer: { id: string; matrixUserId: string },
): Promise<void> {
  await homeserver.ensureAccount(observer.matrixUserId);
  await context.db.raw("update observers set is_registered = true where id = ?", [observer.id]);
}
