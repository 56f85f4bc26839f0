import { DEFAULT_KIND } from "../../contract/content/index.ts";
import type { Statement } from "../connection/pipelined-transaction.ts";
import { SELECT_APPENDED } from "../timeline/append.ts";
import { appendStatus, STATUS_BINDINGS } from "./status-entries.ts";

/**
 * Deletes messages here: their content is empty in the outbox and in the timeline, and an entry `message.deleted` says so. One
 * that is deleted already stays as it is; with `onlyDead`, one that is not dead too. The rooms' timelines are locked. Returns
 * AppendedRow.
 */
export function deleteMessages(
  messageIds: readonly string[],
  reason: string | null,
  { onlyDead = false } = {},
): Statement {
  return {
    sql: DELETE_MESSAGES,
    bindings: {
      messageIds: [...messageIds],
      reason,
      onlyDead,
      defaultKind: DEFAULT_KIND,
      ...STATUS_BINDINGS,
    },
  };
}

const EMPTY = "jsonb_build_object('kind', coalesce(m.content ->> 'kind', :defaultKind), 'text', '')";

const DELETE_MESSAGES = `
  with emptied as (
    update timeline e set content = ${EMPTY}, redacted_at = now() from messages m
     where m.id = any(:messageIds) and (m.status = 'dead' or not cast(:onlyDead as boolean)) and e.room_id = m.room_id and e.entry_id = m.id and e.redacted_at is null
    returning m.id, m.room_id, m.order_number
  ), deleted as (
    update messages m set content = ${EMPTY} from emptied d where m.id = d.id
  ), ${appendStatus("message.deleted", "emptied", "jsonb_build_object('reason', cast(:reason as text))")}
  ${SELECT_APPENDED}`;
