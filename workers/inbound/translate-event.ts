import { CONTENT, parseContent, type Content } from "../../shared/contract/content/index.ts";
import { externalEntryId } from "../../shared/platform/ids.ts";
import type { NewEntry } from "../../shared/timeline/append.ts";
import { CONTENT_EVENT_TYPES, fromMatrix } from "../matrix/content/index.ts";
import type { MatrixEvent } from "../matrix/event.ts";
import { MARKER } from "../matrix/marker.ts";
import { EventType, Membership } from "../matrix/names.ts";

/** A message row that an event's marker names. */
export type MarkedMessage = {
  id: string;
  room_id: string;
  sender_id: string;
  sender_matrix_id: string;
  client_id: string | null;
  /** As the row keeps it: see `parseContent`. */
  content: Record<string, unknown>;
  accepted_at: Date;
  timeline_number: number | null;
  event_id: string | null;
};

/** What is known of the people and messages that some events speak of. */
export type EventContext = {
  /** Row ids by Matrix id. */
  userIds: ReadonlyMap<string, string>;
  observerMatrixId: string;
  /** Display names by room id and Matrix id, see `nameKey`; for people whom the tenant does not know. */
  names: ReadonlyMap<string, string>;
  /** Message rows by id. */
  messages: ReadonlyMap<string, MarkedMessage>;
};

/**
 * What an event means.
 * - `message`: an entry; `settles` is our message that it is.
 * - `double`: a second event of a message that is in the timeline already; to be redacted, never told.
 * - `membership`: Matrix has one of our people in or out.
 * - `successor`: the room was upgraded; it goes on elsewhere.
 * - `stranger`: somebody whom the tenant does not know is in, or asked in.
 * - `drift`: somebody else changed what is the tenant's to decide.
 */
export type Translation =
  | { kind: "message"; entry: NewEntry; settles: string | null; isForged: boolean }
  | { kind: "double"; eventId: string }
  | { kind: "membership"; userId: string; applied: "in" | "out" }
  | { kind: "stranger" }
  | { kind: "drift"; what: "levels" | "description" }
  | { kind: "encrypted" }
  | { kind: "successor"; matrixRoomId: string }
  | { kind: "nothing" };

export function nameKey(roomId: string, matrixUserId: string): string {
  return `${roomId} ${matrixUserId}`;
}

const NOTHING: Translation = { kind: "nothing" };

/** Reads one event of a room. The same event always means the same, so that reading twice changes nothing. */
export function translateEvent(roomId: string, event: MatrixEvent, facts: EventContext): Translation {
  if (CONTENT_EVENT_TYPES.includes(event.type)) return translateContent(roomId, event, facts);
  switch (event.type) {
    case EventType.RoomMember:
      return translateMember(event, facts);
    case EventType.RoomPowerLevels:
      return event.sender === facts.observerMatrixId ? NOTHING : { kind: "drift", what: "levels" };
    case EventType.RoomName:
    case EventType.RoomTopic:
    case EventType.RoomAvatar:
      return event.sender === facts.observerMatrixId ? NOTHING : { kind: "drift", what: "description" };
    case EventType.RoomTombstone:
      return translateTombstone(event);
    case EventType.RoomEncryption:
    case EventType.RoomMessageEncrypted:
      return { kind: "encrypted" };
    default:
      return NOTHING;
  }
}

function translateContent(roomId: string, event: MatrixEvent, facts: EventContext): Translation {
  const markerId = event.content[MARKER];
  const marked = typeof markerId === "string" ? facts.messages.get(markerId) : undefined;
  // Anybody can write a marker: it counts when room and sender are those of the row.
  const isOurs = marked?.room_id === roomId && marked.sender_matrix_id === event.sender;
  if (marked && isOurs) {
    const isTold = marked.timeline_number !== null;
    if (isTold && marked.event_id !== event.event_id) return { kind: "double", eventId: event.event_id };
    return { kind: "message", entry: ourEntry(event, marked), settles: marked.id, isForged: false };
  }
  const received = fromMatrix(event);
  if (received === null) return NOTHING;
  return {
    kind: "message",
    entry: externalEntry(roomId, event, received.content, facts),
    settles: null,
    isForged: markerId !== undefined,
  };
}

function ourEntry(event: MatrixEvent, message: MarkedMessage): NewEntry {
  return {
    entryId: message.id,
    eventId: event.event_id,
    type: CONTENT[parseContent(message.content).kind].entry,
    senderId: message.sender_id,
    senderName: null,
    clientId: message.client_id,
    content: message.content,
    at: message.accepted_at,
  };
}

function externalEntry(roomId: string, event: MatrixEvent, content: Content, facts: EventContext): NewEntry {
  const senderId = facts.userIds.get(event.sender) ?? null;
  return {
    entryId: externalEntryId(roomId, event.event_id),
    eventId: event.event_id,
    type: CONTENT[content.kind].entry,
    senderId,
    // Without a name they stay nameless: the Matrix id must not leave the server.
    senderName:
      senderId === null ? (facts.names.get(nameKey(roomId, event.sender)) ?? "Someone on Matrix") : null,
    clientId: null,
    content,
    at: readTime(event.origin_server_ts),
  };
}

const LATEST_MS = Date.UTC(9_999, 11, 31);

/** A homeserver may say any number at all; a time that no calendar holds would stop the reading of everything. */
function readTime(originServerTs: number): Date {
  return new Date(Math.min(Math.max(originServerTs, 0), LATEST_MS));
}

function translateTombstone(event: MatrixEvent): Translation {
  const successor = event.content["replacement_room"];
  const isRoomId = typeof successor === "string" && successor.startsWith("!");
  return isRoomId ? { kind: "successor", matrixRoomId: successor } : NOTHING;
}

function translateMember(event: MatrixEvent, facts: EventContext): Translation {
  const membership = event.content["membership"];
  const userId = facts.userIds.get(event.state_key ?? "");
  if (userId === undefined) {
    const isIn = membership === Membership.Join || membership === Membership.Invite;
    return isIn && event.state_key !== facts.observerMatrixId ? { kind: "stranger" } : NOTHING;
  }
  if (membership === Membership.Join) return { kind: "membership", userId, applied: "in" };
  if (membership === Membership.Leave || membership === Membership.Ban)
    return { kind: "membership", userId, applied: "out" };
  return NOTHING;
}
