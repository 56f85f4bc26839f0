import type { EntryType } from "../../contract/frames.ts";
import type { RoomKind } from "../../contract/names.ts";
import type { MessageStatus } from "../../contract/resources.ts";

/** An entry of a timeline with what is needed to present it. */
export type EntryRow = {
  room_id: string;
  number: number;
  entry_id: string;
  type: EntryType;
  client_id: string | null;
  content: Record<string, unknown>;
  at: Date;
  sender_id: string | null;
  sender_name: string | null;
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
};

/** Columns of an EntryRow, and what joins them to `e`, rows of the timeline. */
export const ENTRY_COLUMNS = `
  e.room_id, e.number, e.entry_id, e.type, e.client_id, e.content, e.at, e.sender_id, e.sender_name, e.relates_to, e.redacted_at,
  u.external_id as sender_user, u.display_name as sender_display_name, u.avatar as sender_avatar, r.kind, r.slug,
  m.status, m.error_code, m.error_message, m.request_id`;
export const ENTRY_JOINS = `
  join rooms r on r.id = e.room_id left join users u on u.id = e.sender_id left join messages m on m.id = e.entry_id`;

/** EntryRows; the caller adds `where` and `order by`. */
export const SELECT_ENTRY = `select ${ENTRY_COLUMNS} from timeline e ${ENTRY_JOINS}`;
