import { UNREAD_ENTRY_TYPES } from "../../contract/content/index.ts";
import type { EntryType } from "../../contract/frames.ts";
import { appendingCtes } from "../timeline/append.ts";

/** What happened to a message after it was accepted. */
type StatusType = Extract<EntryType, "message.failed" | "message.requeued" | "message.deleted">;

/** The bindings of `appendStatus`. */
export const STATUS_BINDINGS = { unread: [...UNREAD_ENTRY_TYPES] };

/**
 * CTEs that append one entry about each message of the CTE `messages` (id, room_id, order_number), oldest first. `content`: an SQL
 * expression. The rooms' timelines are locked already. Bind STATUS_BINDINGS; select SELECT_APPENDED.
 */
export function appendStatus(type: StatusType, messages: string, content: string): string {
  return appendingCtes(`
    select room_id, row_number() over (order by room_id, order_number) as position, gen_random_uuid() as entry_id,
           cast(null as text) as event_id, '${type}' as type, cast(null as uuid) as sender_id, cast(null as text) as sender_name,
           cast(null as text) as client_id, id as relates_to, ${content} as content, cast(null as timestamptz) as at,
           row_number() over (partition by room_id order by order_number) as place
      from ${messages}`);
}
