import { CONTENT, type Content } from "../../../shared/contract/content/index.ts";
import { ACTS } from "../../../shared/contract/content/acts.ts";
import { externalEntryId } from "../../../shared/platform/ids.ts";
import type { NewEntry } from "../../../shared/timeline/append.ts";
import { fromMatrix } from "../../matrix/content/index.ts";
import { readRelation, type MatrixEvent } from "../../matrix/event.ts";
import { MARKER } from "../../matrix/marker.ts";
import { RelationType } from "../../matrix/names.ts";
import { translateOwn } from "./own.ts";
import { peopleOf } from "./people.ts";
import { readSender, readTime } from "./sender.ts";
import { eventKey, NOTHING, type EventContext, type Translation } from "./translation.ts";

/** A message, or the edit of one. */
export function translateContent(roomId: string, event: MatrixEvent, context: EventContext): Translation {
  const own = translateOwn(roomId, event, context);
  if (own !== null) return own;
  if (readRelation(event)?.type === RelationType.Replace) return translateEdit(roomId, event, context);
  const received = fromMatrix(event, peopleOf(roomId, event, context));
  if (received === null) return NOTHING;
  const replyTo = findMessage(roomId, received.targetEventId, context);
  const thread = findMessage(roomId, received.threadEventId, context);
  const content = {
    ...received.content,
    ...(replyTo === null ? {} : { replyTo }),
    ...(thread === null ? {} : { thread }),
  };
  return {
    kind: "message",
    entry: externalEntry(roomId, event, content, context),
    isForged: event.content[MARKER] !== undefined,
  };
}

/** The id of the message that has an event. One that is not here has the id that it will get when it comes. */
function findMessage(roomId: string, eventId: string | null, { answered }: EventContext): string | null {
  if (eventId === null) return null;
  return answered.get(eventKey(roomId, eventId)) ?? externalEntryId(roomId, eventId);
}

/** The entry of a message that another Matrix client sent. */
function externalEntry(
  roomId: string,
  event: MatrixEvent,
  content: Content,
  context: EventContext,
): NewEntry {
  const { userId, name, ref } = readSender(roomId, event, context);
  return {
    entryId: externalEntryId(roomId, event.event_id),
    eventId: event.event_id,
    type: CONTENT[content.kind].entry,
    senderId: userId,
    senderName: name,
    ...(userId === null ? { senderRef: ref } : {}),
    clientId: null,
    content,
    at: readTime(event.origin_server_ts),
  };
}

/** What counts of an edit is its `m.new_content`; the rest is for clients that know no edits. */
function translateEdit(roomId: string, event: MatrixEvent, context: EventContext): Translation {
  const relation = readRelation(event);
  const newContent = event.content["m.new_content"];
  if (relation === null || typeof newContent !== "object" || newContent === null) return NOTHING;
  // A relation in the new content is ignored: an edit cannot change what its message answers.
  const { "m.relates_to": _relation, ...content } = newContent as Record<string, unknown>;
  const received = fromMatrix({ ...event, content }, peopleOf(roomId, event, context));
  if (received === null) return NOTHING;
  const { kind: of, ...fields } = received.content;
  return {
    kind: "act",
    act: {
      ...{ roomId, eventId: event.event_id, targetEventId: relation.eventId },
      kind: "edit",
      content: ACTS.edit.content.parse({ ...fields, kind: "edit", of }),
      senderMatrixId: event.sender,
      ...readSender(roomId, event, context),
      at: readTime(event.origin_server_ts),
    },
    isForged: event.content[MARKER] !== undefined,
  };
}
