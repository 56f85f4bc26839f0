import type { Db } from "../../shared/db/connection/open.ts";
import { isAllowed } from "../../shared/contract/permissions.ts";
import { findNamed, type FoundRows } from "../../shared/db/observers/find-named.ts";
import type { ObservedRoom } from "../../shared/db/observers/observed-rooms.ts";
import { isStorable, readRedacted, withRedaction, type MatrixEvent } from "../matrix/event.ts";
import {
  CONTENT_EVENT_TYPES,
  namedPeople,
  readRelations,
  wantsToMentionRoom,
  type NamedPerson,
} from "../matrix/content/index.ts";
import type { Requester } from "../matrix/http/client.ts";
import { readMarker } from "../matrix/marker.ts";
import { EventType } from "../matrix/names.ts";
import { fetchRedactedStates } from "./redacted-states.ts";
import { fetchUnknownNames } from "./unknown-names.ts";
import type { RoomEvents } from "./sync-plan.ts";
import { eventKey, nameKey, type EventContext } from "./translate/translation.ts";

/** An observer, as it reads: `request` makes calls as it. */
export type Reader = { observerId: string; tenantId: string; matrixUserId: string; request: Requester };

/** Events of a Matrix room, oldest first. */
export type EventsOfRoom = { matrixRoomId: string; events: readonly MatrixEvent[] };

/** What the tables hold of some events: the observer's rooms among those named, their events, and who and what these name. */
export type Seen = { rooms: ObservedRoom[]; events: RoomEvents[]; facts: EventContext };

/** Looks up what events name: rooms, people and messages, all of the observer's tenant. */
export async function lookUp(db: Db, reader: Reader, rooms: readonly EventsOfRoom[]): Promise<Seen> {
  if (rooms.length === 0) return { rooms: [], events: [], facts: nothingKnown(reader) };
  const events = rooms.flatMap((room) => room.events);
  const found = await findNamed(db, reader, {
    rooms: rooms.map(({ matrixRoomId }) => matrixRoomId),
    people: [...new Set(events.flatMap(withRedaction).flatMap(readPeople))],
    messages: [...new Set(events.flatMap((event) => readMarker(event) ?? []))],
    events: events.flatMap((event) => (mayBeOurs(event) ? [event.event_id] : [])).filter(isStorable),
    redacted: [...new Set(events.flatMap((event) => readRedacted(event) ?? []))],
    answered: rooms.flatMap(({ matrixRoomId, events }) => readAnswered(matrixRoomId, events)),
    mentioning: rooms.flatMap(({ matrixRoomId, events }) => readMentioning(matrixRoomId, events)),
    all: events.map((event) => event.event_id).filter(isStorable),
  });
  const observed = new Map(found.rooms.map((room) => [room.matrix_room_id, room]));
  const messages = new Map(found.messages.map((message) => [message.id, message]));
  const messagesByEvent = new Map(
    found.messages.flatMap((message) => (message.event_id === null ? [] : [[message.event_id, message]])),
  );
  const isOurs = (event: MatrixEvent) =>
    messages.has(readMarker(event) ?? "") || messagesByEvent.has(event.event_id);
  const known = rooms.flatMap(({ matrixRoomId, events: all }): RoomEvents[] => {
    const room = observed.get(matrixRoomId);
    if (room === undefined) return [];
    const { id: roomId, not_before_ms: notBeforeMs } = room;
    const events = withoutOld(all, notBeforeMs, isOurs);
    return [{ roomId, matrixRoomId, events }];
  });
  const userIds = new Map(found.users.map((user) => [user.matrix_user_id, user.id]));
  const redacted = new Map(
    found.redacted.map((event) => [
      eventKey(event.room_id, event.event_id),
      event.is_waiting ? ("waiting" as const) : ("here" as const),
    ]),
  );
  const facts = {
    tenantId: reader.tenantId,
    observerMatrixId: reader.matrixUserId,
    userIds,
    names: await fetchUnknownNames(reader, known, userIds),
    people: new Map(found.users.flatMap(toNamedPerson)),
    roomMentioners: new Set(
      found.mentioning.flatMap(({ room_id: roomId, matrix_user_id: id, standing }) =>
        isAllowed(standing, "mention the room") ? [nameKey(roomId, id)] : [],
      ),
    ),
    answered: answeredMessages(known, found),
    messages,
    messagesByEvent,
    redacted,
    waiting: found.waiting,
    redactedStates: await fetchRedactedStates(reader.request, known, redacted),
  };
  return { rooms: found.rooms, events: known, facts };
}

/** Events from after the time up to which a room takes nothing over; what has a row here stays. Pure. */
export function withoutOld(
  events: readonly MatrixEvent[],
  notBeforeMs: number | null,
  isOurs: (event: MatrixEvent) => boolean,
): readonly MatrixEvent[] {
  if (notBeforeMs === null) return events;
  return events.filter((event) => event.origin_server_ts > notBeforeMs || isOurs(event));
}

function nothingKnown({ tenantId, matrixUserId: observerMatrixId }: Reader): EventContext {
  return {
    tenantId,
    observerMatrixId,
    userIds: new Map(),
    names: new Map(),
    people: new Map(),
    roomMentioners: new Set(),
    answered: new Map(),
    messages: new Map(),
    messagesByEvent: new Map(),
    redacted: new Map(),
    waiting: [],
    redactedStates: new Map(),
  };
}

const OUR_EVENT_TYPES: readonly string[] = [
  ...CONTENT_EVENT_TYPES,
  EventType.Reaction,
  EventType.RoomRedaction,
];

/** Whether an event may be a message or an act of ours that lacks its marker. */
function mayBeOurs(event: MatrixEvent): boolean {
  const isOfOurTypes = event.state_key === undefined && OUR_EVENT_TYPES.includes(event.type);
  return isOfOurTypes && readMarker(event) === null;
}

function isContent(event: MatrixEvent): boolean {
  return event.state_key === undefined && CONTENT_EVENT_TYPES.includes(event.type);
}

/** Matrix ids that an event names. */
function readPeople(event: MatrixEvent): string[] {
  const { type, sender, state_key: subject } = event;
  const isMember = type === EventType.RoomMember && subject !== undefined;
  const isText = isContent(event) || type === EventType.RoomRedaction || isMember;
  const mentioned = isText ? namedPeople(event) : [];
  return [sender, ...(isMember ? [subject] : []), ...mentioned].filter(isStorable);
}

/** The events that messages of a room answer, and whose threads they continue. */
function readAnswered(room: string, events: readonly MatrixEvent[]): { room: string; event: string }[] {
  const answered = events.filter(isContent).flatMap((event) => Object.values(readRelations(event)));
  return [...new Set(answered)].flatMap((event) => (event === null ? [] : [{ room, event }]));
}

/** Who wishes to mention everybody in a room. */
function readMentioning(room: string, events: readonly MatrixEvent[]): { room: string; sender: string }[] {
  const senders = events
    .filter((event) => isContent(event) && wantsToMentionRoom(event))
    .map(({ sender }) => sender);
  return [...new Set(senders.filter(isStorable))].map((sender) => ({ room, sender }));
}

function toNamedPerson({
  matrix_user_id: matrixUserId,
  external_id: user,
  name,
}: FoundRows["users"][number]): [string, NamedPerson][] {
  return name === null ? [] : [[matrixUserId, { matrixUserId, user, name }]];
}

/** The messages of events that are answered: those that the tables know, and ours whose events are read only now. */
function answeredMessages(
  rooms: readonly RoomEvents[],
  { messages, answered }: FoundRows,
): Map<string, string> {
  const ours = new Map(messages.map((message) => [message.id, message]));
  const byEvent = new Map<string, string>();
  for (const { roomId, events } of rooms)
    for (const event of events) {
      const message = ours.get(readMarker(event) ?? "");
      const isIts = message?.room_id === roomId && message.sender_matrix_id === event.sender;
      if (isIts && isContent(event)) byEvent.set(eventKey(roomId, event.event_id), message.id);
    }
  for (const { room_id: roomId, event_id: eventId, message_id: id } of answered)
    byEvent.set(eventKey(roomId, eventId), id);
  return byEvent;
}
