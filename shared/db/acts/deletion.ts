import type { ActSql } from "./frame.ts";

/** What is left of the content of `row`. */
const emptied = (row: string) =>
  `jsonb_build_object('kind', coalesce(${row}.content ->> 'kind', 'text'), 'text', '')`;

/*
 * The content is emptied in the outbox and in the timeline: of the message and of its edits. What was never tried on Matrix ends:
 * nothing of it is there. A message that may be there is sent as it is, empty, and redacted behind: under its transaction id
 * the homeserver returns the event that it has.
 */
export const deletionSql: ActSql = {
  isSame: "c.target_redacted_at is not null",
  fits: "true",
  allowsDeleted: true,
  at: "c.at",
  actsAs: "case when w.is_own then 'sender' else 'observer' end",
  isOpen:
    "(case when w.status is null then true when w.status = 'queued' then w.replayed else w.status <> 'dead' end)",
  content: "w.content",
  apply: `
  touched as (
    select m.id, m.id = act.target_id as is_message, m.content ->> 'kind' = 'edit' as is_edit,
           m.open and m.status = 'queued' and not m.replayed and coalesce(m.content ->> 'kind', 'text') <> 'deletion' as ends
      from act join messages m on m.id = act.target_id or m.target_id = act.target_id
     order by m.id for update of m
  ), emptied_rows as (
    update messages m
       set content = case when t.is_message or t.is_edit then ${emptied("m")} else m.content end,
           request_hash = case when t.is_message or t.is_edit then null else m.request_hash end,
           status = case when t.ends then 'dead' else m.status end, open = m.open and not t.ends,
           error_code = case when not t.ends then m.error_code when t.is_message then 'deleted' else 'target_deleted' end,
           error_message = case when not t.ends then m.error_message when t.is_message then 'The message was deleted before it was sent.'
                                else 'The message was deleted before this was sent.' end
      from touched t where m.id = t.id and (t.is_message or t.is_edit or t.ends)
    returning t.ends
  ), about as (
    select e.room_id, e.number from act join timeline e on e.room_id = act.room_id and e.entry_id = act.target_id
    union all
    select e.room_id, e.number from act join timeline e on e.room_id = act.room_id and e.relates_to = act.target_id
       and e.type = any('{message.edited,reaction.added,reaction.removed}')
  ), emptied_entries as (
    update timeline e set content = ${emptied("e")}, redacted_at = coalesce(e.redacted_at, now())
      from about where e.room_id = about.room_id and e.number = about.number
  ), reactions_gone as (
    delete from reactions r using act where r.room_id = act.room_id and r.message_id = act.target_id
  ), counts_gone as (
    delete from reaction_counts r using act where r.room_id = act.room_id and r.message_id = act.target_id
  ), mentions_gone as (
    delete from mentions n using act where n.message_id = act.target_id
  ), room_mentions_gone as (
    delete from room_mentions n using act where n.message_id = act.target_id
  ),`,
  ended: "(select count(*) from emptied_rows where ends)",
  entryContent: "jsonb_build_object('reason', act.content -> 'reason')",
  scrubs: true,
  state: {
    deleted_number: "act.number",
    edit_number: "null",
    pinned_number: "null",
    has_reactions: "false",
  },
  note: "",
};
