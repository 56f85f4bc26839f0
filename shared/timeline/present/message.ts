import { presentContent } from "../../contract/content/index.ts";
import type { Mentions } from "../../contract/content/message.ts";
import { formatRoomKey } from "../../contract/names.ts";
import type { MessageError, MessageResource } from "../../contract/resources.ts";
import type { EntryRow, StateColumns, TargetColumns } from "../../db/timeline/entries.ts";
import { presentPerson, presentSender } from "./person.ts";

/** A message that stands in the timeline, as it is now. */
export function presentTimelineMessage(row: EntryRow): MessageResource {
  return {
    id: row.entry_id,
    room: formatRoomKey(row),
    number: row.number,
    clientId: row.client_id,
    sender: presentSender(row, row.room_id),
    at: row.at.toISOString(),
    status: row.status ?? "sent",
    error: presentError(row),
    // Last: each field after a spread makes V8 build the object once more.
    ...presentState(row),
  };
}

/** The message of an edit. */
export function presentTarget(target: TargetColumns): MessageResource {
  const time = (text: string | null) => (text === null ? null : new Date(text));
  return presentTimelineMessage({
    ...target,
    at: new Date(target.at),
    redacted_at: time(target.redacted_at),
    edited_at: time(target.edited_at),
    target: null,
    reactors: null,
  });
}

type Stated = StateColumns & {
  room_id: string;
  sender_user: string | null;
  number: number | null;
  content: Record<string, unknown>;
  redacted_at: Date | null;
};

/** The fields of a message that acts change. */
export function presentState(row: Stated) {
  const { reply, deletion } = row;
  const { kind, text, format, html, mentions, media } = presentContent(currentContent(row));
  return {
    kind,
    text,
    format,
    html,
    mentions: mentionAnswered(mentions, row),
    media,
    revision: row.revision ?? row.number ?? 0,
    replyTo: reply && { ...reply, sender: presentPerson(reply.sender, row.room_id) },
    reactions: row.reactions ?? [],
    pinned: row.pinned ?? false,
    editedAt: row.edited_at?.toISOString() ?? null,
    deletedAt: presentDeletedAt(row),
    deletedBy: deletion && presentPerson(deletion.by, row.room_id),
    reason: deletion?.reason ?? null,
  };
}

/** A reply mentions whom it answers, also where an edit, or another Matrix client, does not name the person. */
function mentionAnswered(mentions: Mentions, { reply, sender_user: sender }: Stated): Mentions {
  const answered = reply?.sender.user ?? null;
  if (answered === null || answered === sender || mentions.users.includes(answered)) return mentions;
  return { ...mentions, users: [...mentions.users, answered] };
}

/** When it was deleted, by its deletion: that may have come from Matrix later. */
function presentDeletedAt({ redacted_at: redactedAt, deletion }: Stated): string | null {
  if (redactedAt === null) return null;
  return (deletion === null ? redactedAt : new Date(deletion.at)).toISOString();
}

/** What a message holds now: an edit replaces its text, and keeps its kind and what it answers. */
function currentContent({ content, edit_content: edit }: Stated): Record<string, unknown> {
  if (edit === null) return content;
  const { text, format, html, mentions } = edit;
  return { ...content, text, format, html, mentions };
}

/** Why a message is dead; null for one that is not. */
export function presentError(row: {
  error_code: string | null;
  error_message: string | null;
}): MessageError | null {
  if (row.error_code === null) return null;
  return { code: row.error_code, message: row.error_message ?? "The message was not sent." };
}
