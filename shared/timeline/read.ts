import { z } from "zod";
import { presentContent } from "../contract/content/index.ts";
import type { EntryType, Publication } from "../contract/frames.ts";
import { formatRoomKey, type RoomKind } from "../contract/names.ts";
import { role } from "../contract/roles.ts";
import type { MessageResource, Person } from "../contract/resources.ts";

/** An entry of a timeline with what is needed to show it. */
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

const memberContent = z.object({ role, by: z.string().nullable() });
const roomContent = z.object({ changed: z.record(z.string(), z.string().nullable()) });

/** What clients are sent of an entry. */
export function presentEntry(row: EntryRow): Publication {
  switch (row.type) {
    case "message.created":
      return { type: "message.created", ...presentTimelineMessage(row) };
    case "room.changed":
      return { type: "room.changed", ...presentPlace(row), changed: roomContent.parse(row.content).changed };
    default:
      return {
        type: row.type,
        ...presentPlace(row),
        user: presentSender(row),
        ...memberContent.parse(row.content),
      };
  }
}

/** A message that stands in the timeline. */
export function presentTimelineMessage(row: EntryRow): MessageResource {
  return {
    id: row.entry_id,
    room: formatRoomKey(row),
    number: row.number,
    clientId: row.client_id,
    sender: presentSender(row),
    ...presentContent(row.content),
    at: row.at.toISOString(),
    status: "sent",
    error: null,
  };
}

function presentPlace(row: EntryRow): { room: string; id: string; number: number; at: string } {
  return { room: formatRoomKey(row), id: row.entry_id, number: row.number, at: row.at.toISOString() };
}

function presentSender(row: EntryRow): Person {
  if (row.sender_user === null) return { user: null, displayName: row.sender_name, avatar: null };
  return { user: row.sender_user, displayName: row.sender_display_name, avatar: row.sender_avatar };
}
