import { rowsOf, type Db } from "../../connection/open.ts";
import { countReopened } from "../../rooms/room-mirrors.ts";
import { appendUnderLease } from "../../timeline/append-under-lease.ts";
import { SELECT_APPENDED, type AppendedRow } from "../../timeline/append.ts";
import { IS_EFFECTIVE, ROOM_EXISTS } from "../missing-messages.ts";
import type { DeadCode } from "./dead-messages.ts";
import { appendStatus, STATUS_BINDINGS } from "../status-entries.ts";

/** Somebody removed the person, deleted the room or the message, or redacted it (a code of version 0.2): it stays so. */
const NOT_REPLAYED: readonly (DeadCode | "redacted")[] = [
  "sender_removed",
  "room_deleted",
  "deleted",
  "target_deleted",
  "redacted",
];

// What died in version 0.2 stands in no timeline.
const IS_REPLAYABLE = `
  m.status = 'dead' and m.error_code is not null and not m.error_code = any(:notReplayed)
  and exists (select 1 from timeline d where d.room_id = m.room_id and d.entry_id = m.id and d.redacted_at is null)
  and ${IS_EFFECTIVE}`;

/** A dead message by its id, where it may be replayed; with the address of its room. */
export async function findReplayable(
  db: Db,
  id: string,
): Promise<{ tenant_id: string; room_id: string } | null> {
  const rows = await rowsOf<{ tenant_id: string; room_id: string }>(
    db,
    `select m.tenant_id, m.room_id from messages m join rooms r on r.id = m.room_id and r.deleted_at is null
      where m.id = :id and ${IS_REPLAYABLE}`,
    { id, notReplayed: NOT_REPLAYED },
  );
  return rows[0] ?? null;
}

/** Dead messages of a room that may be replayed, after an order number, oldest first. `code`: only those of that cause. */
export function listReplayable(
  db: Db,
  roomId: string,
  { code, afterOrder, limit }: { code: string | null; afterOrder: number; limit: number },
): Promise<{ id: string; order_number: number }[]> {
  return rowsOf<{ id: string; order_number: number }>(
    db,
    `select m.id, m.order_number from messages m
      where m.room_id = :roomId and ${IS_REPLAYABLE} and m.order_number > :afterOrder
        and m.error_code = coalesce(cast(:code as text), m.error_code)
      order by m.order_number limit :limit`,
    { roomId, code, afterOrder, limit, notReplayed: NOT_REPLAYED },
  );
}

// An act that died with its message is replayed with it: the order numbers are the old ones, so it comes behind.
const REPLAY = `
  with named as (
    select m.id from messages m where m.id = any(:ids)
    union
    select m.id from messages m where m.target_id = any(:ids) and m.error_code = 'target_dead'
  ), found as (
    select m.id from named join messages m using (id) where m.room_id = :roomId and ${IS_REPLAYABLE} and ${ROOM_EXISTS}
     order by m.id for update of m
  ), again as (
    update messages m
       set status = 'queued', open = true, replayed = true, retry_wanted = false, error_code = null, error_message = null, attempts = 0,
           event_id = null, seen_event_id = null, timeline_number = null, sent_at = null
      from found f where m.id = f.id
    returning m.id, m.tenant_id, m.room_id, m.order_number, m.target_id, m.content ->> 'kind' as kind
  ), reopened as (${countReopened("again")}), due as (
    update room_outbox set next_attempt_at = now(), attempts = 0, failing_since = null where room_id = :roomId and exists (select 1 from again)
  ), ${appendStatus("message.requeued", "again", "jsonb_build_object()")}
  ${SELECT_APPENDED}`;

/**
 * Queues dead messages of a room again under its lease, and the acts on them that died with them, with an entry `message.requeued` for each, and makes the room due.
 * Returns what was appended; null when the lease has ended: then nothing is changed.
 */
export function replayMessages(
  db: Db,
  roomId: string,
  fence: string,
  ids: readonly string[],
): Promise<AppendedRow[] | null> {
  const bindings = {
    roomId,
    ids: [...ids],
    notReplayed: NOT_REPLAYED,
    ...STATUS_BINDINGS,
  };
  return appendUnderLease(db, roomId, fence, [{ sql: REPLAY, bindings }]);
}
