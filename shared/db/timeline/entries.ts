import type { EntryType } from "../../contract/frames.ts";
import type { RoomKind } from "../../contract/names.ts";
import type { MessageStatus, ReactionCount } from "../../contract/resources.ts";

/** A person, as statements build it. `ref` is null for a sender of an earlier version whom the tenant does not know. */
export type PersonColumns = {
  ref: string | null;
  user: string | null;
  displayName: string | null;
  avatar: string | null;
};

/** What a message is now, where that differs from how it was written. */
export type StateColumns = {
  /** Number of the last entry that changed the message; null for none. */
  revision: number | null;
  /** Absent for one that is new. */
  pinned?: boolean;
  /** What the edit that counts holds. */
  edit_content: Record<string, unknown> | null;
  edited_at: Date | null;
  /** Null also for a message that was deleted in version 0.3. */
  deletion: { at: string; by: PersonColumns; reason: string | null } | null;
  reactions: ReactionCount[] | null;
  /** The message that it answers. */
  reply: { id: string; number: number; sender: PersonColumns; text: string; deleted: boolean } | null;
};

/** An entry of a timeline with what is needed to present it. */
export type EntryRow = StateColumns & {
  room_id: string;
  number: number;
  entry_id: string;
  type: EntryType;
  client_id: string | null;
  content: Record<string, unknown>;
  at: Date;
  sender_id: string | null;
  sender_name: string | null;
  /** See `Person`; null where `sender_id` is the ref. */
  sender_ref: string | null;
  /** The message that the entry is about. */
  relates_to: string | null;
  /** Since when its content is empty. */
  redacted_at: Date | null;
  sender_user: string | null;
  sender_display_name: string | null;
  sender_avatar: string | null;
  kind: RoomKind;
  slug: string;
  /** Of a message that came through the API, how far Matrix has followed; null for any other entry. */
  status: MessageStatus | null;
  error_code: string | null;
  error_message: string | null;
  /** The request that it came with. */
  request_id: string | null;
  /** The message of an edit, as it is now. */
  target: TargetColumns | null;
  /** The users of a reaction, in their order. */
  reactors: string[] | null;
};

/** The message of an edit, which Postgres returns as JSON: times are text. */
export type TargetColumns = Omit<EntryRow, "at" | "redacted_at" | "edited_at" | "target" | "reactors"> & {
  at: string;
  redacted_at: string | null;
  edited_at: string | null;
};

/**
 * A setting of the tenant whose product wrote the entry `e`: `sender_ref` is the tenant then. Looked up only where no user wrote it.
 */
const productSetting = (e: string, name: "name" | "avatar") => `
  case when ${e}.sender_id is null and ${e}.sender_ref is not null
       then (select ${name === "name" ? "coalesce(p.limits ->> 'name', p.slug)" : "p.limits ->> 'avatar'"} from tenants p where p.id = ${e}.sender_ref) end`;

/** What `e` and its user `u` say of a sender, beside the user's name. */
export const SENDER_COLUMNS = `
  e.sender_ref, coalesce(${productSetting("e", "name")}, e.sender_name) as sender_name,
  coalesce(u.avatar, ${productSetting("e", "avatar")}) as sender_avatar`;

/** The person of the entry `e`, whose user is `u`, unless that is deleted: PersonColumns. */
function personOf(e: string, u: string): string {
  return `jsonb_build_object('ref', coalesce(${e}.sender_ref, ${e}.sender_id), 'user', ${u}.external_id,
    'displayName', coalesce(${u}.display_name, ${productSetting(e, "name")}, ${e}.sender_name),
    'avatar', coalesce(${u}.avatar, ${productSetting(e, "avatar")}))`;
}

/** The users' own names of the array `ids` of row ids, in its order; the deleted ones are left out. */
const namesOf = (ids: string) => `
  (select coalesce(jsonb_agg(named.external_id order by p.place), '[]') from unnest(${ids}) with ordinality as p(id, place)
     join users named on named.id = p.id and named.deleted_at is null)`;

/**
 * Joins `reply` to `e`, whose content names a message of the room. `offset 0` makes Postgres look it up by its key, and only where there is
 * one: else it may read the whole timeline for each statement.
 */
export const REPLY_JOIN = `
  left join lateral (
    select jsonb_build_object('id', q.entry_id, 'number', q.number, 'sender', ${personOf("q", "qu")}, 'deleted', q.redacted_at is not null,
             'text', left(coalesce(qw.content ->> 'text', q.content ->> 'text', ''), 200)) as reply
      from timeline q
      left join users qu on qu.id = q.sender_id and qu.deleted_at is null
      left join message_states qs on qs.room_id = q.room_id and qs.message_id = q.entry_id
      left join timeline qw on qw.room_id = q.room_id and qw.number = qs.edit_number
     where e.content ->> 'replyTo' is not null and q.room_id = e.room_id and q.entry_id = cast(e.content ->> 'replyTo' as uuid)
      and q.relates_to is null
    offset 0
  ) answered on true`;

/** StateColumns, and what joins them to `e`. Each is found by its key, and looked for only where there is one. */
export const STATE_COLUMNS = `
  st.revision, st.pinned_number is not null as pinned, w.content as edit_content, w.at as edited_at, x.reactions, answered.reply,
  case when d.number is not null then jsonb_build_object('at', d.at, 'by', ${personOf("d", "du")}, 'reason', d.content -> 'reason') end as deletion`;
export const STATE_JOINS = `
  left join message_states st on st.room_id = e.room_id and st.message_id = coalesce(e.relates_to, e.entry_id)
  left join timeline w on w.room_id = e.room_id and w.number = st.edit_number
  left join timeline d on d.room_id = e.room_id and d.number = st.deleted_number
  left join users du on du.id = d.sender_id and du.deleted_at is null
  left join lateral (
    select jsonb_agg(jsonb_build_object('key', c.key, 'count', c.count, 'users', ${namesOf("c.users")}) order by c.rose_at, c.key) as reactions
      from reaction_counts c where c.room_id = e.room_id and c.message_id = st.message_id and c.count > 0
  ) x on st.has_reactions
  ${REPLY_JOIN}`;

const OWN_COLUMNS = `
  e.room_id, e.number, e.entry_id, e.type, e.client_id, e.content, e.at, e.sender_id, e.relates_to, e.redacted_at,
  u.external_id as sender_user, u.display_name as sender_display_name, ${SENDER_COLUMNS}, r.kind, r.slug,
  m.status, m.error_code, m.error_message, m.request_id, ${STATE_COLUMNS}`;
const OWN_JOINS = `
  join rooms r on r.id = e.room_id left join users u on u.id = e.sender_id and u.deleted_at is null left join messages m on m.id = e.entry_id
  ${STATE_JOINS}`;

/** Columns of an EntryRow, and what joins them to `e`, rows of the timeline. */
export const ENTRY_COLUMNS = `${OWN_COLUMNS}, edited.target, named.reactors`;
export const ENTRY_JOINS = `${OWN_JOINS}
  left join lateral (select e.room_id, e.relates_to as message) about on e.type = 'message.edited'
  left join lateral (
    select to_jsonb(original) as target from (
      select ${OWN_COLUMNS} from timeline e ${OWN_JOINS} where e.room_id = about.room_id and e.entry_id = about.message) original
  ) edited on about.message is not null
  left join lateral (
    select ${namesOf("array(select cast(jsonb_array_elements_text(e.content -> 'users') as uuid))")} as reactors
  ) named on e.type = any('{reaction.added,reaction.removed}')`;

/** EntryRows; the caller adds `where` and `order by`. */
export const SELECT_ENTRY = `select ${ENTRY_COLUMNS} from timeline e ${ENTRY_JOINS}`;
