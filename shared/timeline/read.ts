import { z } from "zod";
import { presentContent } from "../contract/content/index.ts";
import type { Publication } from "../contract/frames.ts";
import { formatRoomKey } from "../contract/names.ts";
import { role } from "../contract/roles.ts";
import type { MessageResource, Person } from "../contract/resources.ts";
import type { EntryRow } from "../db/timeline/entries.ts";

const memberContent = z.object({ role, by: z.string().nullable() });
const roomContent = z.object({ changed: z.record(z.string(), z.string().nullable()) });

/** What clients receive of an entry. */
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
