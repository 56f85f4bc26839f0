import { z } from "zod";
import { presentContent } from "../contract/content/index.ts";
import type { Publication } from "../contract/frames.ts";
import { formatRoomKey } from "../contract/names.ts";
import { role } from "../contract/roles.ts";
import { messageError, type MessageError, type MessageResource, type Person } from "../contract/resources.ts";
import type { EntryRow } from "../db/timeline/entries.ts";

const memberContent = z.object({ role, by: z.string().nullable() });
const roomContent = z.object({ changed: z.record(z.string(), z.string().nullable()) });
const failedContent = z.object({ error: messageError });
const deletedContent = z.object({ reason: z.string().nullable() });

/** Stands for Matrix, where no person acts. */
const NO_PERSON: Person = { user: null, displayName: null, avatar: null };

/** What clients receive of an entry. */
export function presentEntry(row: EntryRow): Publication {
  switch (row.type) {
    case "message.created":
      return { type: "message.created", ...presentTimelineMessage(row) };
    case "message.failed":
      return { type: row.type, ...presentTarget(row), act: "message", ...failedContent.parse(row.content) };
    case "message.requeued":
      return { type: row.type, ...presentTarget(row), act: "message", error: null };
    case "message.deleted":
      return { type: row.type, ...presentTarget(row), by: NO_PERSON, ...deletedContent.parse(row.content) };
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
    status: row.status ?? "sent",
    error: presentError(row),
    deletedAt: row.redacted_at?.toISOString() ?? null,
  };
}

/** Why a message is dead; null for one that is not. */
export function presentError(row: {
  error_code: string | null;
  error_message: string | null;
}): MessageError | null {
  if (row.error_code === null) return null;
  return { code: row.error_code, message: row.error_message ?? "The message was not sent." };
}

function presentPlace(row: EntryRow): { room: string; id: string; number: number; at: string } {
  return { room: formatRoomKey(row), id: row.entry_id, number: row.number, at: row.at.toISOString() };
}

/** The place of an entry about a message. */
function presentTarget(row: EntryRow): { room: string; number: number; at: string; message: string } {
  const { room, number, at } = presentPlace(row);
  return { room, number, at, message: row.relates_to ?? row.entry_id };
}

function presentSender(row: EntryRow): Person {
  if (row.sender_user === null) return { user: null, displayName: row.sender_name, avatar: null };
  return { user: row.sender_user, displayName: row.sender_display_name, avatar: row.sender_avatar };
}
