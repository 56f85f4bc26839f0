import { UNREAD_ENTRY_TYPES } from "../../contract/content/index.ts";
import { newId } from "../../platform/ids.ts";
import type { Statement } from "../connection/pipelined-transaction.ts";
import { ENTRY_COLUMNS, ENTRY_JOINS } from "../timeline/entries.ts";
import { editRemovalSql } from "./edit-removal.ts";
import { effects } from "./frame.ts";

/**
 * Takes back a dead edit that Matrix has refused for good, as its redaction would: the message is what it was without it, and an
 * entry `message.edited` says so, of nobody. Nothing happens where it is no edit, is not dead, or was emptied with its message. The
 * room's timeline is locked. Returns AppendedRow, of the last statement.
 */
export function removeRefusedEdit(roomId: string, id: string): Statement[] {
  const bindings = { roomId, entryId: newId() };
  return [
    { sql: REMOVE, bindings: { ...bindings, id, unread: [...UNREAD_ENTRY_TYPES] } },
    // A statement of its own: it reads the message as it is now.
    { sql: READ, bindings },
  ];
}

const REMOVE = `
  with act as (
    select cast(:entryId as uuid) as id, v.room_id, v.tenant_id, cast(null as uuid) as user_id, cast(null as uuid) as sender_ref,
           cast(null as text) as name, cast(null as text) as event_id, cast(null as text) as client_id, now() as at, t.last_number + 1 as number,
           jsonb_build_object('kind', 'edit-removal', 'number', v.number) as content,
           e.entry_id as target_id, e.number as target_number, e.content as target_content, e.sender_id as author_id
      from messages m
      join timeline v on v.room_id = m.room_id and v.entry_id = m.id and v.type = 'message.edited' and v.redacted_at is null
      join timeline e on e.room_id = v.room_id and e.entry_id = v.relates_to
      join room_timeline t on t.room_id = v.room_id
     where m.id = :id and m.room_id = :roomId and m.status = 'dead'
  ), ${effects("edit", editRemovalSql, "false")}
  select 1 where false`;

const READ = `
  select ${ENTRY_COLUMNS}, b.tenant_id, b.epoch, b.last_number, b.scrubs
    from timeline e join room_timeline b on b.room_id = e.room_id ${ENTRY_JOINS}
   where e.room_id = :roomId and e.entry_id = :entryId`;
