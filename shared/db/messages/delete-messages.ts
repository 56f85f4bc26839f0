import type { Statement } from "../connection/pipelined-transaction.ts";
import { countClosed } from "../rooms/room-mirrors.ts";
import { SELECT_APPENDED, STALE_STREAMS } from "../timeline/append.ts";
import { emptyingCtes } from "./emptying.ts";
import { appendStatus, STATUS_BINDINGS } from "./status-entries.ts";

/**
 * Deletes messages here, with all that `emptying.ts` names, and an entry `message.deleted` of nobody says so. One that is deleted
 * already stays as it is, and so does an act; with `onlyDead`, a message that is not dead too. The rooms' timelines are locked.
 * Returns AppendedRow.
 */
export function deleteMessages(
  messageIds: readonly string[],
  reason: string | null,
  { onlyDead = false } = {},
): Statement {
  return {
    sql: DELETE_MESSAGES,
    bindings: { messageIds: [...messageIds], reason, onlyDead, ...STATUS_BINDINGS },
  };
}

const DELETE_MESSAGES = `
  with gone as (
    select m.id, m.id as target_id, m.tenant_id, m.room_id, m.order_number, e.number
      from messages m join timeline e on e.room_id = m.room_id and e.entry_id = m.id and e.redacted_at is null
     where m.id = any(:messageIds) and m.target_id is null and (m.status = 'dead' or not cast(:onlyDead as boolean))
  ), ${emptyingCtes("gone")}, closed as (${countClosed("ended")}),
  ${appendStatus("message.deleted", "gone", "jsonb_build_object('reason', cast(:reason as text))")},
  ${STALE_STREAMS},
  states as (
    insert into message_states as st (room_id, message_id, tenant_id, number, revision, deleted_number)
    select d.room_id, d.id, d.tenant_id, d.number, n.number, n.number
      from gone d join entries n on n.room_id = d.room_id and n.relates_to = d.id
        on conflict (room_id, message_id) do update
       set revision = excluded.revision, deleted_number = excluded.deleted_number, edit_number = null, pinned_number = null, has_reactions = false
  )
  ${SELECT_APPENDED}`;
