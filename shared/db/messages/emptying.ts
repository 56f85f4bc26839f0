import { DEFAULT_KIND } from "../../contract/content/index.ts";

/** What is left of the content of `row`. */
export const emptied = (row: string) =>
  `jsonb_build_object('kind', coalesce(${row}.content ->> 'kind', '${DEFAULT_KIND}'), 'text', '')`;

/** What a deleted message leaves beside its own entry: its edits, and who reacted with what. */
const RELATED = "'{message.edited,reaction.added,reaction.removed}'";

/**
 * CTEs that leave nothing of deleted messages, in the outbox and in the timeline: of the messages, their edits, their reactions and
 * whom they mention. `deleted`: a CTE with `room_id` and `target_id`; the rooms' timelines are locked. What was never tried on Matrix
 * ends: nothing of it is there. A message that may be there is sent as it is, empty, and redacted behind: under its transaction id
 * the homeserver returns the event that it has. `ended` has what ends (tenant_id, room_id), to be counted as closed.
 */
export const emptyingCtes = (deleted: string): string => `
  named as (
    select d.target_id, m.id from ${deleted} d join messages m on m.id = d.target_id
    union all
    select d.target_id, m.id from ${deleted} d join messages m on m.target_id = d.target_id
  ), touched as (
    select m.id, m.id = n.target_id as is_message, m.content ->> 'kind' = 'edit' as is_edit,
           m.open and m.status = 'queued' and not m.replayed and coalesce(m.content ->> 'kind', '${DEFAULT_KIND}') <> 'deletion' as ends
      from named n join messages m on m.id = n.id
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
    returning m.tenant_id, m.room_id, t.ends
  ), ended as (
    select tenant_id, room_id from emptied_rows where ends
  ), about as (
    select e.room_id, e.number from ${deleted} d join timeline e on e.room_id = d.room_id and e.entry_id = d.target_id
    union all
    select e.room_id, e.number from ${deleted} d join timeline e on e.room_id = d.room_id and e.relates_to = d.target_id and e.type = any(${RELATED})
  ), emptied_entries as (
    update timeline e set content = ${emptied("e")}, redacted_at = coalesce(e.redacted_at, now())
      from about where e.room_id = about.room_id and e.number = about.number
  ), reactions_gone as (
    delete from reactions r using ${deleted} d where r.room_id = d.room_id and r.message_id = d.target_id
  ), counts_gone as (
    delete from reaction_counts r using ${deleted} d where r.room_id = d.room_id and r.message_id = d.target_id
  ), mentions_gone as (
    delete from mentions n using ${deleted} d where n.message_id = d.target_id
  ), room_mentions_gone as (
    delete from room_mentions n using ${deleted} d where n.message_id = d.target_id
  )`;
