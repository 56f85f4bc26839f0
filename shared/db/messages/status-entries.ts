import { UNREAD_ENTRY_TYPES } from "../../contract/content/index.ts";
import type { EntryType } from "../../contract/frames.ts";
import type { Statement } from "../connection/pipelined-transaction.ts";
import { markSentDue } from "../rooms/room-mirrors.ts";
import { appendingCtes, SELECT_APPENDED } from "../timeline/append.ts";

/** What happened to a message after it was accepted. */
type StatusType = Extract<EntryType, "message.failed" | "message.requeued" | "message.deleted">;

/** The bindings of `appendStatus`. */
export const STATUS_BINDINGS = { unread: [...UNREAD_ENTRY_TYPES] };

/**
 * CTEs that append one entry about each message of the CTE `messages` (id, room_id, order_number), oldest first. `content`: an SQL
 * expression. The rooms' timelines are locked already. Bind STATUS_BINDINGS; select SELECT_APPENDED.
 */
export function appendStatus(type: StatusType, messages: string, content: string): string {
  return appendingCtes(`
    select room_id, row_number() over (order by room_id, order_number) as position, gen_random_uuid() as entry_id,
           cast(null as text) as event_id, '${type}' as type, cast(null as uuid) as sender_id, cast(null as text) as sender_name,
           cast(null as uuid) as sender_ref, cast(null as text) as client_id, cast(null as bigint) as message_place,
           ${String(type === "message.deleted")} as scrubs, id as relates_to, ${content} as content, cast(null as timestamptz) as at,
           row_number() over (partition by room_id order by order_number) as place
      from ${messages}`);
}

/**
 * Says of messages that were dead that Matrix has them after all, by an entry `message.requeued` for each: `sent` will reach it.
 * They are settled already, and the rooms' timelines are locked. Returns AppendedRow.
 */
export function reportRevived(messageIds: readonly string[]): Statement {
  return { sql: REPORT_REVIVED, bindings: { messageIds: [...messageIds], ...STATUS_BINDINGS } };
}

const REPORT_REVIVED = `
  with revived as (
    select id, tenant_id, room_id, order_number from messages where id = any(:messageIds) and status = 'sent'
  ), due as (${markSentDue("revived")}), ${appendStatus("message.requeued", "revived", "jsonb_build_object()")}
  ${SELECT_APPENDED}`;
