import { externalEntryId } from "../../shared/platform/ids.ts";
import type { NewEntry } from "../../shared/timeline/append.ts";
import { MARKER } from "../matrix/rooms.ts";
import type { MatrixEvent } from "../matrix/sync-api.ts";

/** A message row that an event's marker names. */
export type MarkedMessage = {
  id: string;
  room_id: string;
  sender_id: string;
  sender_matrix_id: string;
  client_id: string | null;
  content: { text: string };
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
const TEXT_TYPES = new Set(["m.text", "m.notice", "m.emote"]);

/** Reads one event of a room. The same event always means the same, so that reading twice changes nothing. */
export function translateEvent(roomId: string, event: MatrixEvent, facts: EventContext): Translation {
  switch (event.type) {
    case "m.room.message":
      return translateMessage(roomId, event, facts);
    case "m.room.member":
      return translateMember(event, facts);
    case "m.room.power_levels":
      return event.sender === facts.observerMatrixId ? NOTHING : { kind: "drift", what: "levels" };
    case "m.room.name":
    case "m.room.topic":
    case "m.room.avatar":
      return event.sender === facts.observerMatrixId ? NOTHING : { kind: "drift", what: "description" };
    case "m.room.tombstone":
      return translateTombstone(event);
    case "m.room.encryption":
    case "m.room.encrypted":
      return { kind: "encrypted" };
    default:
      return NOTHING;
  }
}

function translateMessage(roomId: string, event: MatrixEvent, facts: EventContext): Translation {
  const markerId = event.content[MARKER];
  const marked = typeof markerId === "string" ? facts.messages.get(markerId) : undefined;
  // Anybody can write a marker: it counts when room and sender are those of the row.
  const isOurs = marked?.room_id === roomId && marked.sender_matrix_id === event.sender;
  if (marked && isOurs) {
    const isTold = marked.timeline_number !== null;
    if (isTold && marked.event_id !== event.event_id) return { kind: "double", eventId: event.event_id };
    return { kind: "message", entry: ourEntry(event, marked), settles: marked.id, isForged: false };
  }
  const text = readText(event);
  if (text === null) return NOTHING;
  return {
    kind: "message",
    entry: externalEntry(roomId, event, text, facts),
    settles: null,
    isForged: markerId !== undefined,
  };
}

function ourEntry(event: MatrixEvent, message: MarkedMessage): NewEntry {
  return {
    entryId: message.id,
    eventId: event.event_id,
    type: "message.created",
    senderId: message.sender_id,
    senderName: null,
    clientId: message.client_id,
    content: { text: message.content.text },
    at: message.accepted_at,
  };
}

function externalEntry(roomId: string, event: MatrixEvent, text: string, facts: EventContext): NewEntry {
  const senderId = facts.userIds.get(event.sender) ?? null;
  return {
    entryId: externalEntryId(roomId, event.event_id),
    eventId: event.event_id,
    type: "message.created",
    senderId,
    // Without a name they stay nameless: the Matrix id must not leave the server.
    senderName:
      senderId === null ? (facts.names.get(nameKey(roomId, event.sender)) ?? "Someone on Matrix") : null,
    clientId: null,
    content: { text },
    at: readTime(event.origin_server_ts),
  };
}

const LATEST_MS = Date.UTC(9_999, 11, 31);

/** A homeserver may say any number at all; a time that no calendar holds would stop the reading of everything. */
function readTime(originServerTs: number): Date {
  return new Date(Math.min(Math.max(originServerTs, 0), LATEST_MS));
}

/** The text of a message, made safe to keep: Matrix lets through what Postgres and browsers do not. Null: none. */
function readText(event: MatrixEvent): string | null {
  const { msgtype, body } = event.content;
  if (typeof body !== "string" || typeof msgtype !== "string" || !TEXT_TYPES.has(msgtype)) return null;
  const relation = event.content["m.relates_to"];
  const isEdit =
    relation !== null &&
    typeof relation === "object" &&
    "rel_type" in relation &&
    relation.rel_type === "m.replace";
  if (isEdit) return null;
  const safe = body.toWellFormed().replaceAll("\0", "");
  return safe === "" ? null : safe;
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
    const isIn = membership === "join" || membership === "invite";
    return isIn && event.state_key !== facts.observerMatrixId ? { kind: "stranger" } : NOTHING;
  }
  if (membership === "join") return { kind: "membership", userId, applied: "in" };
  if (membership === "leave" || membership === "ban") return { kind: "membership", userId, applied: "out" };
  return NOTHING;
}
