import { RESTORE_MENTIONS } from "../memberships/mentions/mentions.ts";
import { editSql, VERSIONS } from "./edit.ts";
import type { ActSql } from "./frame.ts";

/**
 * The redaction of an edit on Matrix: that version is emptied, and the newest of the others counts, or the message as it was
 * written. It is an entry `message.edited` without a text.
 */
export const editRemovalSql: ActSql = {
  ...editSql,
  isSame: `exists (select 1 from timeline v where v.room_id = c.room_id and v.number = cast(c.content ->> 'number' as bigint)
    and v.redacted_at is not null)`,
  at: "c.at",
  apply: `
  counting as (
    select v.number from act join timeline v on v.room_id = act.room_id and v.relates_to = act.target_id and ${VERSIONS}
       and v.number <> cast(act.content ->> 'number' as bigint)
     order by v.at desc, v.event_id desc nulls first limit 1
  ), emptied_version as (
    update timeline v set content = '{"kind": "edit", "text": ""}', redacted_at = now() from act
     where v.room_id = act.room_id and v.number = cast(act.content ->> 'number' as bigint)
  ), emptied_row as (
    update messages m set content = '{"kind": "edit", "text": ""}', request_hash = null from act, timeline v
     where v.room_id = act.room_id and v.number = cast(act.content ->> 'number' as bigint) and m.id = v.entry_id
  ), ${RESTORE_MENTIONS},`,
  entryContent: "jsonb_build_object('kind', 'edit')",
  scrubs: true,
  state: { edit_number: "(select number from counting)" },
};
