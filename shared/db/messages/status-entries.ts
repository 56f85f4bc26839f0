import { ACT_WORDS } from "../../contract/content/acts.ts";
import { UNREAD_ENTRY_TYPES } from "../../contract/content/index.ts";
import type { EntryType } from "../../contract/frames.ts";
import type { Statement } from "../connection/pipelined-transaction.ts";
import { markSentDue } from "../rooms/room-mirrors.ts";
import { appendingCtes, SELECT_APPENDED } from "../timeline/append.ts";

/** What happened to a message, or to an act on one, after it was accepted. */
type StatusType = Extract<EntryType, "message.failed" | "message.requeued" | "message.deleted">;

/** The bindings of `appendStatus`. */
export const STATUS_BINDINGS = { unread: [...UNREAD_ENTRY_TYPES], actWords: JSON.stringify(ACT_WORDS) };

/** What the entry says of the row of an outbox: the message itself, or which act on it. */
const ACT = "jsonb_build_object('act', coalesce(cast(:actWords as jsonb) ->> kind, 'message'))";

/** The status of a message is one of its fields: the entry is its newest revision. That of an act is none. */
const STATED = `stated as (
  insert into message_states as st (room_id, message_id, tenant_id, number, revision)
  select n.room_id, n.relates_to, n.tenant_id, t.number, n.number
    from entries n join timeline t on t.room_id = n.room_id and t.entry_id = n.relates_to
   where n.content ->> 'act' = 'message'
      on conflict (room_id, message_id) do update set revision = greatest(st.revision, excluded.revision))`;

/**
 * CTEs that append one entry for each row of the CTE `messages` (id, room_id, order_number), oldest first. `content`: an SQL
 * expression. The rows of a failure or a requeueing have `target_id` and `kind` too: such an entry is about the act's message.
 * The rooms' timelines are locked already. Bind STATUS_BINDINGS; select SELECT_APPENDED.
 */
export function appendStatus(type: StatusType, messages: string, content: string): string {
  const isDeletion = type === "message.deleted";
  const about = isDeletion ? "id" : "coalesce(target_id, id)";
  const appending = appendEntries(type, messages, {
    about,
    content: isDeletion ? content : `${content} || ${ACT}`,
  });
  return isDeletion ? appending : `${appending}, ${STATED}`;
}

function appendEntries(
  type: StatusType,
  messages: string,
  { about, content }: { about: string; content: string },
): string {
  return appendingCtes(`
    select room_id, row_number() over (order by room_id, order_number) as position, gen_random_uuid() as entry_id,
           cast(null as text) as event_id, '${type}' as type, cast(null as uuid) as sender_id, cast(null as text) as sender_name,
           cast(null as uuid) as sender_ref, cast(null as text) as client_id, cast(null as bigint) as message_place,
           ${String(type === "message.deleted")} as scrubs, ${about} as relates_to, ${content} as content, cast(null as timestamptz) as at,
           row_number() over (partition by room_id order by order_number) as place
      from ${messages}`);
}

/**
 * Says of messages and acts that were dead that Matrix has them after all, by an entry `message.requeued` for each: `sent` will
 * reach it. What was deleted here is left out: its event is redacted.
 * They are settled already, and the rooms' timelines are locked. Returns AppendedRow.
 */
export function reportRevived(messageIds: readonly string[]): Statement {
  return { sql: REPORT_REVIVED, bindings: { messageIds: [...messageIds], ...STATUS_BINDINGS } };
}

const REPORT_REVIVED = `
  with revived as (
    select m.id, m.tenant_id, m.room_id, m.order_number, m.target_id, m.content ->> 'kind' as kind
      from messages m join timeline e on e.room_id = m.room_id and e.entry_id = m.id and e.redacted_at is null
     where m.id = any(:messageIds) and m.status = 'sent'
  ), due as (${markSentDue("revived")}), ${appendStatus("message.requeued", "revived", "jsonb_build_object()")}
  ${SELECT_APPENDED}`;
