import type { Statement } from "../connection/pipelined-transaction.ts";
import { markSentDue } from "../rooms/room-mirrors.ts";
import { SELECT_APPENDED } from "../timeline/append.ts";
import { appendStatus, STATUS_BINDINGS } from "./status-entries.ts";

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
