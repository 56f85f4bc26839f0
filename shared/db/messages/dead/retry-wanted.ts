import { execute, rowsOf, type Db } from "../../connection/open.ts";
import { transactPipelined } from "../../connection/pipelined-transaction.ts";
import type { DeadCode } from "./dead-messages.ts";

/*
 * A dead message that its sender wants sent again. The api has no lease of the room: it only marks the message and makes the room
 * due. The room's drain replays it under its lease, so that what was accepted since is not overtaken by chance.
 */

/** The causes that may be over. What the homeserver refused for its content, it would refuse again. */
const RETRIED: readonly DeadCode[] = ["unanswered", "expired", "forbidden", "room_gone"];

/** A room's message that is wanted again: its drain looks for it. `room`: an SQL expression. */
export const hasRetryWanted = (room: string) =>
  `exists (select 1 from messages wanted where wanted.room_id = ${room} and wanted.retry_wanted)`;

const LOCK_OUTBOX = "select 1 from room_outbox where room_id = :roomId for update";

const WANT = `
  with wanted as (
    update messages m set retry_wanted = true
     where m.id = :id and m.tenant_id = :tenantId and m.room_id = :roomId and m.target_id is null
       and m.status = 'dead' and m.error_code = any(:retried)
       and not exists (select 1 from timeline d where d.room_id = m.room_id and d.entry_id = m.id and d.redacted_at is not null)
    returning m.room_id
  ), due as (
    update room_outbox o set next_attempt_at = now() from wanted where o.room_id = wanted.room_id
  )
  select room_id from wanted`;

/** Has a dead message sent again. Returns false where it is not dead, or cannot be sent again. The caller wakes the drain. */
export async function wantRetry(
  db: Db,
  message: { tenantId: string; roomId: string; id: string },
): Promise<boolean> {
  const bindings = { ...message, retried: [...RETRIED] };
  const [, rows] = await transactPipelined<[unknown[], unknown[]]>(db, [
    { sql: LOCK_OUTBOX, bindings },
    { sql: WANT, bindings },
  ]);
  return rows.length > 0;
}

/** Messages of a room that are wanted again, the oldest first. */
export async function listRetryWanted(db: Db, roomId: string, limit: number): Promise<string[]> {
  const rows = await rowsOf<{ id: string }>(
    db,
    "select id from messages where room_id = :roomId and retry_wanted order by order_number limit :limit",
    { roomId, limit },
  );
  return rows.map(({ id }) => id);
}

/** Ends the wish for messages that were replayed, or that may not be replayed any more. */
export async function clearRetryWanted(db: Db, ids: readonly string[]): Promise<void> {
  await execute(
    db,
    `update messages set retry_wanted = false
      where id in (select id from messages where id = any(:ids) and retry_wanted order by id for update)`,
    { ids: [...ids] },
  );
}
