import { MAX_KEYS, MAX_KEYS_OF_PERSON } from "../../contract/content/reaction.ts";
import type { ActSql } from "./frame.ts";

/*
 * `reactions` has a row for each person and key, `reaction_counts` what a message shows: it keeps the row of a key that nobody
 * uses any more. `users` are the first 20 of the tenant's. `reaction_events` has every event of a reaction that was read from
 * Matrix, also doubles and removed ones, so that none is counted again.
 */

/** How many people a key names. */
export const NAMED_USERS = 20;

const OWN = "r.room_id = c.room_id and r.message_id = c.target_id and r.person = c.person";

export const reactionSql: ActSql = {
  isSame: `exists (select 1 from reactions r where ${OWN} and r.key = c.content ->> 'key')`,
  fits: `(select count(*) from reactions r where ${OWN}) < ${MAX_KEYS_OF_PERSON}
    and (select count(*) from reaction_counts k where k.room_id = c.room_id and k.message_id = c.target_id and k.count > 0
            and k.key <> c.content ->> 'key') < ${MAX_KEYS}`,
  allowsDeleted: false,
  at: "c.at",
  actsAs: "'sender'",
  isOpen: "true",
  content: "w.content",
  apply: `
  added as (
    insert into reactions (room_id, message_id, key, person, tenant_id, user_id, name, number, at)
    select room_id, target_id, content ->> 'key', person, tenant_id, user_id, name, number, at from act
  ), tallied as (
    insert into reaction_counts as k (room_id, message_id, key, count, users, rose_at)
    select room_id, target_id, content ->> 'key', 1, array_remove(array[user_id], null), number from act
        on conflict (room_id, message_id, key) do update
       set count = k.count + 1,
           users = case when cardinality(k.users) < ${NAMED_USERS} then k.users || excluded.users else k.users end,
           rose_at = case when k.count = 0 then excluded.rose_at else k.rose_at end
    returning count, users
  ),`,
  ended: "0",
  entryContent:
    "jsonb_build_object('key', act.content -> 'key') || (select jsonb_build_object('count', count, 'users', users) from tallied)",
  scrubs: false,
  state: { has_reactions: "true" },
  note: `
  noted as (
    insert into reaction_events (room_id, event_id, message_id, key, person)
    select c.room_id, c.event_id, c.target_id, c.content ->> 'key', c.person from candidate c where c.is_allowed and c.target_redacted_at is null
        on conflict do nothing
  ),`,
};
