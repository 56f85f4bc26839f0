import type { ActSql } from "./frame.ts";
import { NAMED_USERS } from "./reaction.ts";

const REMOVED = "r.room_id = act.room_id and r.message_id = act.target_id and r.key = act.content ->> 'key'";

export const unreactionSql: ActSql = {
  isSame: `not exists (select 1 from reactions r where r.room_id = c.room_id and r.message_id = c.target_id and r.person = c.person
    and r.key = c.content ->> 'key')`,
  fits: "true",
  allowsDeleted: false,
  at: "c.at",
  actsAs: "'sender'",
  isOpen: "true",
  content: "w.content",
  apply: `
  removed as (
    delete from reactions r using act where ${REMOVED} and r.person = act.person
  ), tallied as (
    update reaction_counts k
       set count = k.count - 1,
           users = array(select r.user_id from reactions r where r.room_id = k.room_id and r.message_id = k.message_id and r.key = k.key
                            and r.person <> act.person and r.user_id is not null order by r.number limit ${NAMED_USERS})
      from act where k.room_id = act.room_id and k.message_id = act.target_id and k.key = act.content ->> 'key'
    returning k.count, k.users
  ),`,
  ended: "0",
  entryContent:
    "jsonb_build_object('key', act.content -> 'key') || (select jsonb_build_object('count', count, 'users', users) from tallied)",
  scrubs: false,
  state: {
    has_reactions: `exists (select 1 from reaction_counts k where k.room_id = act.room_id and k.message_id = act.target_id
      and k.count > case when k.key = act.content ->> 'key' then 1 else 0 end)`,
  },
  note: "",
};
