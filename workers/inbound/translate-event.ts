import { isDeepStrictEqual } from "node:util";
import { CONTENT, parseContent, type Content } from "../../shared/contract/content/index.ts";
import type { ConfigurationDrift } from "../../shared/db/rooms/changed-on-matrix.ts";
import type { MarkedMessage } from "../../shared/db/observers/find-named.ts";
import { externalEntryId } from "../../shared/platform/ids.ts";
import type { NewEntry } from "../../shared/timeline/append.ts";
import { CONTENT_EVENT_TYPES, fromMatrix, toMatrix } from "../matrix/content/index.ts";
import { isPruned, readRedacted, type MatrixEvent } from "../matrix/event.ts";
import { MARKER } from "../matrix/marker.ts";
import { EventType, Membership } from "../matrix/names.ts";
import { readRemoval } from "../matrix/rooms/member-event.ts";

/** What the tables and the homeserver hold of the people and messages that some events name. */
export type EventContext = {
  /** Row ids by Matrix id. */
  userIds: ReadonlyMap<string, string>;
  observerMatrixId: string;
  /** Display names of unknown users, by `nameKey`. */
  names: ReadonlyMap<string, string>;
  /** Rows of our messages, by id. */
  messages: ReadonlyMap<string, MarkedMessage>;
  /** The same, by the id of the event that they have. */
  messagesByEvent: ReadonlyMap<string, MarkedMessage>;
  /** Types of redacted state events, by event id; null where the type is not known. */
  redactedStates: ReadonlyMap<string, string | null>;
};

/**
 * What an event changes here.
 * - `own`: the event is a message of ours, which has its entry already. `isPruned`: its content was redacted before we read it.
 * - `duplicate`: a second event of a message of ours. It is redacted and makes no entry.
 * - `message`: somebody wrote on Matrix: an entry is appended. `isForged`: the event has a marker that is not its own.
 * - `membership`: a user of the tenant is in the room on Matrix, or is not; `removal`: somebody else took the user out.
 * - `unknown-user`: a user whom the tenant does not know joined the room or was invited.
 * - `configuration-drift`: someone changed what the tenant decides.
 * - `redacted-state`: someone redacted what the tenant decides; `what` has all of which it may be a part.
 * - `successor`: the room was upgraded and goes on as another one.
 */
export type Translation =
  | { kind: "own"; message: MarkedMessage; isPruned: boolean }
  | { kind: "duplicate"; eventId: string; messageId: string }
  | { kind: "message"; entry: NewEntry; isForged: boolean }
  | { kind: "membership"; userId: string; applied: "in" }
  | {
      kind: "membership";
      userId: string;
      applied: "out";
      removal: { eventId: string; isBan: boolean } | null;
    }
  | { kind: "unknown-user" }
  | { kind: "configuration-drift"; what: ConfigurationDrift["what"] }
  | { kind: "redacted-state"; what: readonly ConfigurationDrift["what"][] }
  | { kind: "encrypted" }
  | { kind: "successor"; matrixRoomId: string }
  | { kind: "nothing" };

/** The key of an unknown user's name in one room. */
export function nameKey(roomId: string, matrixUserId: string): string {
  return `${roomId} ${matrixUserId}`;
}

const NOTHING: Translation = { kind: "nothing" };

/** Translates one event of a room. Pure: an event that is read twice is translated to the same. */
export function translateEvent(roomId: string, event: MatrixEvent, context: EventContext): Translation {
  if (CONTENT_EVENT_TYPES.includes(event.type)) return translateContent(roomId, event, context);
  switch (event.type) {
    case EventType.RoomMember:
      return translateMember(event, context);
    case EventType.RoomRedaction:
      return translateRedaction(event, context);
    case EventType.RoomTombstone:
      return translateTombstone(event);
    case EventType.RoomEncryption:
    case EventType.RoomMessageEncrypted:
      return { kind: "encrypted" };
    default:
      return translateConfiguration(event, context);
  }
}

function translateContent(roomId: string, event: MatrixEvent, context: EventContext): Translation {
  const own = findOwn(roomId, event, context);
  // A dead message of version 0.2 has no number before an operator replays it: its event is what somebody wrote on Matrix.
  const isNumberless = own?.number === null && own.status === "dead";
  if (own !== null && !isNumberless) {
    // An event's id is written once: a second event of the message is the duplicate.
    const isSecond = own.event_id !== null && own.event_id !== event.event_id;
    if (isSecond) return { kind: "duplicate", eventId: event.event_id, messageId: own.id };
    return { kind: "own", message: own, isPruned: isPruned(event) };
  }
  const received = fromMatrix(event);
  if (received === null) return NOTHING;
  return {
    kind: "message",
    entry: externalEntry(roomId, event, received.content, context),
    isForged: event.content[MARKER] !== undefined,
  };
}

/**
 * Our message that an event is: the one that has the event's id, or the one that its marker names. Any client can write a
 * marker: it counts when room, sender, type and content are those of the message's row.
 */
function findOwn(roomId: string, event: MatrixEvent, context: EventContext): MarkedMessage | null {
  const answered = context.messagesByEvent.get(event.event_id);
  if (answered?.room_id === roomId) return answered;
  const markerId = event.content[MARKER];
  const marked = typeof markerId === "string" ? context.messages.get(markerId) : undefined;
  if (marked?.room_id !== roomId || marked.sender_matrix_id !== event.sender) return null;
  const sent = toMatrix(parseContent(marked.content), { targetEventId: null });
  const { [MARKER]: _marker, ...content } = event.content;
  return sent.type === event.type && isDeepStrictEqual(content, sent.content) ? marked : null;
}

/** The entry of an event that another Matrix client sent. */
function externalEntry(
  roomId: string,
  event: MatrixEvent,
  content: Content,
  context: EventContext,
): NewEntry {
  const senderId = context.userIds.get(event.sender) ?? null;
  // An unknown sender without a name stays without one: no Matrix id leaves the server.
  const name = context.names.get(nameKey(roomId, event.sender)) ?? "Someone on Matrix";
  return {
    entryId: externalEntryId(roomId, event.event_id),
    eventId: event.event_id,
    type: CONTENT[content.kind].entry,
    senderId,
    senderName: senderId === null ? name : null,
    clientId: null,
    content,
    at: readTime(event.origin_server_ts),
  };
}

const LATEST_MS = Date.UTC(9_999, 11, 31);

/** A homeserver may send any number. A date that Postgres refuses would end the reading of all rooms. */
function readTime(originServerTs: number): Date {
  return new Date(Math.min(Math.max(originServerTs, 0), LATEST_MS));
}

/** What the tenant decides of a room's state, by type of event. */
const CONFIGURATION: ReadonlyMap<string, ConfigurationDrift["what"]> = new Map([
  [EventType.RoomPowerLevels, "levels"],
  [EventType.RoomName, "description"],
  [EventType.RoomTopic, "description"],
  [EventType.RoomAvatar, "description"],
  [EventType.RoomJoinRules, "description"],
  [EventType.RoomHistoryVisibility, "description"],
  [EventType.RoomGuestAccess, "description"],
  [EventType.RoomCanonicalAlias, "description"],
]);

function translateConfiguration(event: MatrixEvent, context: EventContext): Translation {
  const what = CONFIGURATION.get(event.type);
  const isDrift = what !== undefined && event.sender !== context.observerMatrixId;
  return isDrift ? { kind: "configuration-drift", what } : NOTHING;
}

/** A redacted state event has lost its content, no matter who redacted it. The observer itself redacts messages only. */
function translateRedaction(event: MatrixEvent, context: EventContext): Translation {
  const type = context.redactedStates.get(readRedacted(event) ?? "");
  if (type === undefined) return NOTHING;
  if (type === null) return { kind: "redacted-state", what: ["levels", "description"] };
  const what = CONFIGURATION.get(type);
  return what === undefined ? NOTHING : { kind: "redacted-state", what: [what] };
}

function translateTombstone(event: MatrixEvent): Translation {
  const successor = event.content["replacement_room"];
  const isRoomId = typeof successor === "string" && successor.startsWith("!");
  return isRoomId ? { kind: "successor", matrixRoomId: successor } : NOTHING;
}

function translateMember(event: MatrixEvent, context: EventContext): Translation {
  const membership = event.content["membership"];
  const userId = context.userIds.get(event.state_key ?? "");
  if (userId === undefined) {
    const isIn = membership === Membership.Join || membership === Membership.Invite;
    return isIn && event.state_key !== context.observerMatrixId ? { kind: "unknown-user" } : NOTHING;
  }
  if (membership === Membership.Join) return { kind: "membership", userId, applied: "in" };
  const isOut = membership === Membership.Leave || membership === Membership.Ban;
  return isOut
    ? { kind: "membership", userId, applied: "out", removal: othersRemoval(event, context) }
    : NOTHING;
}

/** A removal that our observer did not cause. It never bans: a ban by its account is of the homeserver's operator. */
function othersRemoval(
  event: MatrixEvent,
  { observerMatrixId }: EventContext,
): { eventId: string; isBan: boolean } | null {
  const removal = readRemoval(event);
  if (removal === null || (removal.sender === observerMatrixId && !removal.isBan)) return null;
  return { eventId: removal.eventId, isBan: removal.isBan };
}
