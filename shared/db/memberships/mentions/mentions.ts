import { BIG_ROOM_MEMBERS } from "../../../contract/big-room.ts";
import { UNREAD_ENTRY_TYPES } from "../../../contract/content/index.ts";
import type { RoomAddress } from "../../../contract/names.ts";
import type { Statement } from "../../connection/pipelined-transaction.ts";
import { rowsOf, type Db } from "../../connection/open.ts";

/*
 * Whom a message mentions, in tables that are read by person: `mentions` has the members who are named, and whoever is answered;
 * `room_mentions` the messages that mention everybody. An edit that counts replaces them, a deletion removes them.
 */

/** The people whom `c` mentions: a message with `room_id`, `tenant_id`, `number`, `message_id`, `sender_id` and `content`. */
const PEOPLE = `
  select distinct p.user_id, c.room_id, c.number, c.message_id
    from c cross join lateral (
      select u.id as user_id
        from jsonb_array_elements_text(case when jsonb_typeof(c.content #> '{mentions,users}') = 'array' then c.content #> '{mentions,users}' end) n(name)
        join users u on u.tenant_id = c.tenant_id and u.external_id = n.name and u.deleted_at is null
      union
      select q.sender_id from timeline q where q.room_id = c.room_id and q.entry_id = cast(c.content ->> 'replyTo' as uuid)
    ) p
    join memberships s on s.room_id = c.room_id and s.user_id = p.user_id and s.desired = 'in'
   where p.user_id is distinct from c.sender_id`;

const MENTIONS_ROOM = "c.content #>> '{mentions,room}' = 'true'";
/** Whether a message may mention somebody: of most of them, nothing is looked up. */
const mayMention = (content: string) =>
  `(${content} -> 'mentions' is not null or ${content} ->> 'replyTo' is not null)`;

/** CTEs that note whom messages mention: `source` is the body of a CTE with the columns of `c`. */
const notingCtes = (source: string) => `
  c as (${source}),
  mentioned as (
    insert into mentions (user_id, room_id, number, message_id) ${PEOPLE} on conflict do nothing
  ), room_mentioned as (
    insert into room_mentions (room_id, number, message_id, sender)
    select c.room_id, c.number, c.message_id, c.sender_id from c where ${MENTIONS_ROOM} on conflict do nothing
  )`;

/** CTEs for `entries`, rows that a statement has appended. Bind `unread` to UNREAD_ENTRY_TYPES. */
export const NOTE_MENTIONS_OF_ENTRIES = notingCtes(`
  select e.room_id, e.tenant_id, e.number, e.entry_id as message_id, e.sender_id, e.content
    from entries e where e.type = any(:unread) and ${mayMention("e.content")}`);

/** Notes whom messages of the outbox mention, by their ids: in the transaction that accepts them. */
export function noteMentions(messageIds: readonly string[]): Statement {
  return {
    sql: NOTE_MENTIONS,
    bindings: { messageIds: [...messageIds], unread: [...UNREAD_ENTRY_TYPES] },
  };
}

const NOTE_MENTIONS = `
  with ${notingCtes(`
    select e.room_id, e.tenant_id, e.number, e.entry_id as message_id, e.sender_id, e.content
      from messages m join timeline e on e.room_id = m.room_id and e.entry_id = m.id and e.type = any(:unread)
     where m.id = any(:messageIds)`)}
  select 1 from c`;

/** Whom a message mentions after another version counts: the columns of `c`, of `act` and the content of that version. */
const ofVersion = (mentions: string, from: string) => `
  select act.room_id, act.tenant_id, act.target_number as number, act.target_id as message_id, act.author_id as sender_id,
         act.target_content || ${mentions} as content
    from ${from}`;

/**
 * CTEs that replace whom a message mentions: `source` is the body of a CTE with the columns of `c`. What both versions have stays:
 * one statement does not insert again what it deletes.
 */
const replacingCtes = (source: string) => `
  c as (${source}), people as (${PEOPLE}),
  mentions_gone as (
    delete from mentions n using c where n.message_id = c.message_id and not exists (select 1 from people p where p.user_id = n.user_id)
  ), room_mentions_gone as (
    delete from room_mentions n using c where n.message_id = c.message_id and not coalesce(${MENTIONS_ROOM}, false)
  ), mentioned as (
    insert into mentions (user_id, room_id, number, message_id) select * from people on conflict do nothing
  ), room_mentioned as (
    insert into room_mentions (room_id, number, message_id, sender)
    select c.room_id, c.number, c.message_id, c.sender_id from c where ${MENTIONS_ROOM} on conflict do nothing
  )`;

/** Of an edit that counts: `counting` has the number of the version that does. */
export const REPLACE_MENTIONS = replacingCtes(
  ofVersion(
    "jsonb_build_object('mentions', act.content -> 'mentions')",
    "act join counting on counting.edit_number = act.number",
  ),
);

/** Of the redaction of an edit: `counting` has the number of the edit that counts then, or no row. */
export const RESTORE_MENTIONS = replacingCtes(
  ofVersion(
    "case when v.number is null then '{}' else jsonb_build_object('mentions', v.content -> 'mentions') end",
    "act left join counting on true left join timeline v on v.room_id = act.room_id and v.number = counting.number",
  ),
);

/** A person who is mentioned by a message, which somebody else wrote. */
export type MentionRow = RoomAddress & {
  user_id: string;
  room_id: string;
  number: number;
  message_id: string;
  sender_id: string | null;
  sender_ref: string | null;
  sender_name: string | null;
  sender_user: string | null;
  sender_display_name: string | null;
  sender_avatar: string | null;
};

/** A version of a message before the entry `p.edit` mentions the person of `p`. */
const WAS_MENTIONED = `
  exists (
    select 1 from timeline v
     where v.room_id = p.room_id and v.number < p.edit and (v.entry_id = p.message_id or v.relates_to = p.message_id and v.type = 'message.edited')
       and (v.content #>> '{mentions,room}' = 'true' or jsonb_exists(v.content #> '{mentions,users}', pu.external_id)))
  or exists (
    select 1 from timeline q where q.room_id = p.room_id and q.entry_id = cast(e.content ->> 'replyTo' as uuid) and q.sender_id = p.user_id)`;

/**
 * Whom some messages mention; everybody in a room that is mentioned, unless it is a big one. `edit`: the number of an edit of the
 * message, which shows those alone whom no version before it mentions; null for a new message. One query.
 */
export function listMentioned(
  db: Db,
  messages: readonly { roomId: string; messageId: string; edit: number | null }[],
): Promise<MentionRow[]> {
  return rowsOf<MentionRow>(
    db,
    `with given as (
       select * from jsonb_to_recordset(cast(:messages as jsonb)) as g("roomId" uuid, "messageId" uuid, edit bigint)
     ), people as (
       select n.user_id, n.room_id, n.message_id, g.edit from given g join mentions n on n.message_id = g."messageId" and n.room_id = g."roomId"
       union
       select s.user_id, n.room_id, n.message_id, g.edit from given g
         join room_mentions n on n.message_id = g."messageId" and n.room_id = g."roomId"
         join rooms r on r.id = n.room_id and r.member_count <= ${BIG_ROOM_MEMBERS}
         join memberships s on s.room_id = n.room_id and s.desired = 'in' and s.user_id is distinct from n.sender
     )
     select distinct p.user_id, p.room_id, p.message_id, e.number, r.kind, r.slug, e.sender_id, e.sender_ref, e.sender_name,
            u.external_id as sender_user, u.display_name as sender_display_name, u.avatar as sender_avatar
       from people p join rooms r on r.id = p.room_id
       join timeline e on e.room_id = p.room_id and e.entry_id = p.message_id
       join users pu on pu.id = p.user_id
       left join users u on u.id = e.sender_id and u.deleted_at is null
      where p.edit is null or not (${WAS_MENTIONED})
      order by p.room_id, e.number, p.user_id`,
    { messages: JSON.stringify(messages) },
  );
}
