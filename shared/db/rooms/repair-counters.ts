import { rowsOf, type Db } from "../connection/open.ts";
import { transactPipelined } from "../connection/pipelined-transaction.ts";

/*
 * For one version: processes of version 0.2 close messages and do not count that. Where a room has no open message, none
 * waits; and never fewer than none.
 */

const FIND = `
  select o.room_id from room_outbox o left join room_mirrors m using (room_id)
   where o.accepted_count < coalesce(m.closed_count, 0)
      or (o.accepted_count > coalesce(m.closed_count, 0)
          and not exists (select 1 from messages x where x.room_id = o.room_id and x.open and x.numbered))
   limit :limit`;

const LOCK_OUTBOXES = "select 1 from room_outbox where room_id = any(:roomIds) order by room_id for update";
const LOCK_MIRRORS = "select 1 from room_mirrors where room_id = any(:roomIds) order by room_id for update";

// A statement of its own: it sees what was committed while the locks were waited for. Whatever opens or closes a message
// changes one of the two rows in the same transaction.
const REPAIR = `
  insert into room_mirrors as mirror (room_id, tenant_id, closed_count, sent_due_at)
  select o.room_id, o.tenant_id,
         o.accepted_count - (select count(*) from messages x where x.room_id = o.room_id and x.open and x.numbered), now()
    from room_outbox o where o.room_id = any(:roomIds) order by o.room_id
      on conflict (room_id) do update
     set closed_count = excluded.closed_count, changes = mirror.changes + 1, sent_due_at = coalesce(mirror.sent_due_at, excluded.sent_due_at)
   where mirror.closed_count <> excluded.closed_count
  returning room_id`;

/** Sets right the counters of rooms in which they cannot be true, `limit` at most. Returns the rooms. */
export async function repairCounters(db: Db, limit: number): Promise<string[]> {
  const found = await rowsOf<{ room_id: string }>(db, FIND, { limit });
  if (found.length === 0) return [];
  const bindings = { roomIds: found.map((row) => row.room_id) };
  const [, , repaired] = await transactPipelined<[unknown[], unknown[], { room_id: string }[]]>(db, [
    { sql: LOCK_OUTBOXES, bindings },
    { sql: LOCK_MIRRORS, bindings },
    { sql: REPAIR, bindings },
  ]);
  return repaired.map((row) => row.room_id);
}
