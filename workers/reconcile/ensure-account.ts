import { markObserverRegistered } from "../../shared/db/observers/observers.ts";
import { findDesiredProfile, markProfileApplied } from "../../shared/db/users/user-provisioning.ts";
import type { WorkerContext } from "../runtime/context.ts";
import type { Homeserver } from "../matrix/homeserver/homeserver.ts";

/** Ensures that a user's account exists, with the display name that the tenant wants now. */
export async function ensureAccount(
  context: WorkerContext,
  homeserver: Homeserver,
  user: { id: string; tenantId: string; matrixUserId: string },
): Promise<void> {
  await homeserver.ensureAccount(user.matrixUserId);
  await applyProfile(context, homeserver, user, { isNew: true });
}

/**
 * Sets the account's display name to the desired one, by one call for all changes since the last one; by none where the name is
 * the same and the account is not new. A name that the tenant sets meanwhile stays due.
 */
export async function applyProfile(
  context: WorkerContext,
  homeserver: Homeserver,
  user: { id: string; tenantId: string; matrixUserId: string },
  { isNew = false } = {},
): Promise<void> {
  const profile = await findDesiredProfile(context.db, user.tenantId, user.id);
  if (!profile) return;
  if (isNew || !profile.has_name) {
    const request = await homeserver.as(user.matrixUserId);
    await request({
      method: "PUT",
      path: `/profile/${encodeURIComponent(user.matrixUserId)}/displayname`,
      body: { displayname: profile.display_name ?? profile.external_id },
    });
  }
  await markProfileApplied(context.db, user.tenantId, user.id, profile.desired_version);
}

/** Ensures that an observer's account exists, before its first room and its first `/sync`. */
export async function ensureObserver(
  context: WorkerContext,
  homeserver: Homeserver,
  observer: { id: string; matrixUserId: string },
): Promise<void> {
  await homeserver.ensureAccount(observer.matrixUserId);
  await markObserverRegistered(context.db, observer.id);
}
