import { z } from "zod";
import type { Publication } from "../contract/frames.ts";
import { formatRoomKey } from "../contract/names.ts";
import { actWord } from "../contract/publications/messages.ts";
import { role } from "../contract/roles.ts";
import { messageError } from "../contract/resources.ts";
import type { EntryRow } from "../db/timeline/entries.ts";
import { presentTarget, presentTimelineMessage } from "./present/message.ts";
import { presentNobody, presentPerson, presentSender } from "./present/person.ts";

const memberContent = z.object({
  role,
  mutedUntil: z.string().nullable().default(null),
  by: z.string().nullable(),
});
const roomContent = z.object({
  changed: z.record(z.string(), z.string().nullable()),
  by: z.string().nullable().default(null),
});
const statusContent = z.object({ act: actWord.default("message") });
const failedContent = statusContent.extend({ error: messageError });
const deletedContent = z.object({ reason: z.string().nullable() });
const reactionContent = z.object({ key: z.string(), count: z.int() });

/** What clients receive of an entry: messages as they are now. */
export function presentEntry(row: EntryRow): Publication {
  if (row.redacted_at !== null && row.type !== "message.edited") return presentEmptied(row);
  switch (row.type) {
    case "message.created":
      return { type: "message.created", ...presentTimelineMessage(row) };
    case "message.edited":
      return presentEdited(row);
    case "reaction.added":
    case "reaction.removed":
      return {
        type: row.type,
        ...presentSubject(row),
        by: presentSender(row, row.room_id),
        ...reactionContent.parse(row.content),
        users: row.reactors ?? [],
      };
    case "message.pinned":
    case "message.unpinned":
      return { type: row.type, ...presentSubject(row), by: presentSender(row, row.room_id) };
    case "message.failed":
      return { type: row.type, ...presentSubject(row), ...failedContent.parse(row.content) };
    case "message.requeued":
      return { type: row.type, ...presentSubject(row), ...statusContent.parse(row.content), error: null };
    case "message.deleted": {
      const by = presentSender(row, row.room_id);
      return { type: row.type, ...presentSubject(row), by, ...deletedContent.parse(row.content) };
    }
    case "room.changed":
      return { type: "room.changed", ...presentPlace(row), ...roomContent.parse(row.content) };
    default:
      return {
        type: row.type,
        ...presentPlace(row),
        user: presentSender(row, row.room_id),
        ...memberContent.parse(row.content),
      };
  }
}

function presentEdited(row: EntryRow): Publication {
  // An edit that was redacted alone says what its message is now, as any other. A message that is older than what the room keeps is
  // not there any more.
  if (row.target?.redacted_at !== null) return presentEmptied(row);
  const { room, number, at } = presentPlace(row);
  const by = presentSender(row, row.room_id);
  return { type: "message.edited", room, number, at, by, message: presentTarget(row.target) };
}

/** An entry whose content is empty, since its message is deleted: the deletion, under the entry's own number. */
function presentEmptied(row: EntryRow): Publication {
  const { by, reason } = row.deletion ?? { by: null, reason: null };
  return {
    type: "message.deleted",
    ...presentSubject(row),
    by: by === null ? presentNobody(row.room_id) : presentPerson(by, row.room_id),
    reason,
    ...(row.type === "message.created" ? { stub: presentTimelineMessage(row) } : {}),
  };
}

function presentPlace(row: EntryRow): { room: string; id: string; number: number; at: string } {
  return { room: formatRoomKey(row), id: row.entry_id, number: row.number, at: row.at.toISOString() };
}

/** The place of an entry about a message. */
function presentSubject(row: EntryRow): { room: string; number: number; at: string; message: string } {
  const { room, number, at } = presentPlace(row);
  return { room, number, at, message: row.relates_to ?? row.entry_id };
}
