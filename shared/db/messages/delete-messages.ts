import { DEFAULT_KIND } from "../../contract/content/index.ts";
import type { Statement } from "../connection/pipelined-transaction.ts";
import { SELECT_APPENDED, STALE_STREAMS } from "../timeline/append.ts";
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

/** What is left of the content of a message. */
const EMPTY = "jsonb_build_object('kind', coalesce(m.content ->> 'kind', :defaultKind), 'text', '')";

const DELETE_MESSAGES = `
  with emptied as (
    update timeline e set content = ${EMPTY}, redacted_at = now() from messages m
     where m.id = any(:messageIds) and (m.status = 'dead' or not cast(:onlyDead as boolean)) and e.room_id = m.room_id and e.entry_id = m.id and e.redacted_at is null
    returning m.id, m.tenant_id, m.room_id, m.order_number, e.number
  ), deleted as (
    update messages m set content = ${EMPTY}, request_hash = null from emptied d where m.id = d.id
  ), versions as (
    update timeline v set content = '{"kind": "edit", "text": ""}', redacted_at = coalesce(v.redacted_at, now()) from emptied d
     where v.room_id = d.room_id and v.relates_to = d.id and v.type = 'message.edited'
  ), reactions_gone as (
    delete from reactions r using emptied d where r.room_id = d.room_id and r.message_id = d.id
  ), counts_gone as (
    delete from reaction_counts c using emptied d where c.room_id = d.room_id and c.message_id = d.id
  ), mentions_gone as (
    delete from mentions n using emptied d where n.message_id = d.id
  ), room_mentions_gone as (
    delete from room_mentions n using emptied d where n.message_id = d.id
  ), ${appendStatus("message.deleted", "emptied", "jsonb_build_object('reason', cast(:reason as text))")},
  ${STALE_STREAMS},
  states as (
    insert into message_states as st (room_id, message_id, tenant_id, number, revision, deleted_number)
    select d.room_id, d.id, d.tenant_id, d.number, n.number, n.number
      from emptied d join entries n on n.room_id = d.room_id and n.relates_to = d.id
        on conflict (room_id, message_id) do update
       set revision = excluded.revision, deleted_number = excluded.deleted_number, edit_number = null, has_reactions = false
  )
  ${SELECT_APPENDED}`;
