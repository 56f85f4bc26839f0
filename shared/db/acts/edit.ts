import { REPLACE_MENTIONS } from "../memberships/mentions/mentions.ts";
import type { ActSql } from "./frame.ts";

/*
 * The versions of a message are its entries `message.edited`. The one that counts is the newest by its time, then the one with
 * the largest event id. One of the API comes after all that is known of the message.
 */
export const VERSIONS =
  "v.type = 'message.edited' and v.redacted_at is null and v.content ->> 'text' is not null";

export const editSql: ActSql = {
  isSame: "false",
  fits: "true",
  allowsDeleted: false,
  at: `case when c.event_id is not null then c.at else greatest(c.at, (
      select max(v.at) + interval '1 millisecond' from timeline v where v.room_id = c.room_id and v.relates_to = c.target_id and ${VERSIONS})) end`,
  actsAs: "'sender'",
  isOpen: "true",
  content: "w.content || jsonb_build_object('of', coalesce(w.target_content ->> 'kind', 'text'))",
  apply: `
  best as (
    select v.at, v.event_id from act join timeline v on v.room_id = act.room_id and v.relates_to = act.target_id and ${VERSIONS}
     order by v.at desc, v.event_id desc nulls first limit 1
  ), counting as (
    select case when best.at is null or (act.at, coalesce(act.event_id, '~')) > (best.at, coalesce(best.event_id, '~'))
                then act.number else act.edit_number end as edit_number
      from act left join best on true
  ), ${REPLACE_MENTIONS},`,
  ended: "0",
  entryContent: "act.content",
  scrubs: false,
  state: { edit_number: "(select edit_number from counting)" },
  note: "",
};
