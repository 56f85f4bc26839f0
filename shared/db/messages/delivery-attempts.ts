import { newId } from "../../platform/ids.ts";
import { execute, rowsOf, type Db } from "../connection/open.ts";

/** Records a failed attempt to send a message, for operators. `isRefused`: it counts against the message itself. */
export async function recordAttempt(
  db: Db,
  attempt: { tenantId: string; messageId: string; failure: string; detail: string; isRefused: boolean },
): Promise<void> {
  await execute(
    db,
    `with counted as (update messages set attempts = attempts + 1 where id = :messageId and cast(:isRefused as boolean))
     insert into delivery_attempts (id, tenant_id, message_id, failure, detail)
     values (:id, :tenantId, :messageId, :failure, :detail)`,
    { id: newId(), ...attempt },
  );
}

/** Deletes attempts that are older than `age` (an interval), `limit` at most. Returns how many. */
export async function deleteOldAttempts(db: Db, age: string, limit: number): Promise<number> {
  const rows = await rowsOf(
    db,
    `delete from delivery_attempts where id in (
       select id from delivery_attempts where at < now() - cast(? as interval) limit ?) returning 1 as deleted`,
    [age, limit],
  );
  return rows.length;
}
