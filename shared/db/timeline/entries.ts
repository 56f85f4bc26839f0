import type { EntryType } from "../../contract/frames.ts";
import type { RoomKind } from "../../contract/names.ts";

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
  sender_user: string | null;
  sender_display_name: string | null;
  sender_avatar: string | null;
  kind: RoomKind;
  slug: string;
};

/** Columns of an EntryRow, and what joins them to `e`, rows of the timeline. */
export const ENTRY_COLUMNS = `
  e.room_id, e.number, e.entry_id, e.type, e.client_id, e.content, e.at, e.sender_id, e.sender_name,
  u.external_id as sender_user, u.display_name as sender_display_name, u.avatar as sender_avatar, r.kind, r.slug`;
export const ENTRY_JOINS = "join rooms r on r.id = e.room_id left join users u on u.id = e.sender_id";

/** EntryRows; the caller adds `where` and `order by`. */
export const SELECT_ENTRY = `select ${ENTRY_COLUMNS} from timeline e ${ENTRY_JOINS}`;
