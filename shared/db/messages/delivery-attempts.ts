import { newId } from "../../platform/ids.ts";
import { rowsOf, type Db } from "../connection/open.ts";

const inMs = (interval: string) => `cast(extract(epoch from ${interval}) * 1000 as double precision)`;

/**
 * How long a message had failed at its last attempt, of the time that counts, and how long ago that was; null at the first
 * attempt. In milliseconds.
 */
export type FailingTime = { failingMs: number; sinceLastMs: number | null };

/**
 * Records a failed attempt to send a message, for operators. `isRefused`: it counts against the message itself. Returns what
 * was known at the attempt before.
 */
export async function recordAttempt(
  db: Db,
  attempt: {
    tenantId: string;
    messageId: string;
    failure: string;
    detail: string;
    isRefused: boolean;
  },
): Promise<FailingTime> {
  const rows = await rowsOf<FailingTime>(
    db,
    `with counted as (update messages set attempts = attempts + 1 where id = :messageId and cast(:isRefused as boolean)),
     last as (select at from delivery_attempts where message_id = :messageId order by at desc limit 1),
     recorded as (
       insert into delivery_attempts (id, tenant_id, message_id, failure, detail)
       values (:id, :tenantId, :messageId, :failure, :detail)
     )
     select ${inMs("now() - last.at")} as "sinceLastMs", greatest(0, coalesce(${inMs("last.at - x.failing_since")}, 0)) as "failingMs"
       from messages m join room_outbox x on x.room_id = m.room_id left join last on true where m.id = :messageId`,
    { id: newId(), ...attempt },
  );
  return rows[0] ?? { failingMs: 0, sinceLastMs: null };
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
