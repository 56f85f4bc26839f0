import { rowsOf, type Db } from "../connection/open.ts";
import { transact } from "../connection/transaction.ts";
import { enqueueUserEvents } from "./user-event-outbox.ts";
import { findUser, type User } from "./users.ts";

const LOCK = `
  update users set status = 'locked'
   where tenant_id = :tenantId and external_id = :name and deleted_at is null and status <> 'locked' returning id`;

// What the account on Matrix has was recorded meanwhile: `markProfileApplied` and `rescheduleUser` keep a locked user locked.
const UNLOCK = `
  update users set status = case when applied_version = 0 or desired_version > applied_version then 'pending' else 'ready' end,
         next_attempt_at = case when desired_version > applied_version then coalesce(next_attempt_at, now()) else next_attempt_at end
   where tenant_id = :tenantId and external_id = :name and deleted_at is null and status = 'locked' returning id`;

/**
 * Locks an existing user, and enqueues the end of the user's sockets; or unlocks it. `isChanged`: it was not so before.
 * Undefined when there is no such user.
 */
export function setUserLocked(
  db: Db,
  tenantId: string,
  name: string,
  isLocked: boolean,
): Promise<{ user: User; isChanged: boolean } | undefined> {
  return transact(db, async (trx) => {
    const [changed] = await rowsOf<{ id: string }>(trx, isLocked ? LOCK : UNLOCK, { tenantId, name });
    if (changed && isLocked)
      await enqueueUserEvents(trx, [{ tenantId, kind: "user.gone", userId: changed.id, roomId: null }]);
    const user = await findUser(trx, tenantId, name);
    return user ? { user, isChanged: changed !== undefined } : undefined;
  });
}
