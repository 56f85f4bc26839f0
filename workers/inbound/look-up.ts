import type { Db } from "../../shared/db/connection/open.ts";
import { findNamed } from "../../shared/db/observers/find-named.ts";
import type { ObservedRoom } from "../../shared/db/observers/observed-rooms.ts";
import { isStorable, readRedacted, type MatrixEvent } from "../matrix/event.ts";
import { CONTENT_EVENT_TYPES } from "../matrix/content/index.ts";
import type { Requester } from "../matrix/http/client.ts";
import { readMarker } from "../matrix/marker.ts";
import { EventType } from "../matrix/names.ts";
import { fetchRedactedStates } from "./redacted-states.ts";
import { fetchUnknownNames } from "./unknown-names.ts";
import type { RoomEvents } from "./sync-plan.ts";
import { eventKey, type EventContext } from "./translate/translation.ts";

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
    people: [...new Set(events.flatMap(readPeople))],
    messages: [...new Set(events.flatMap((event) => readMarker(event) ?? []))],
    events: events.flatMap((event) => (mayBeOurs(event) ? [event.event_id] : [])).filter(isStorable),
    redacted: [...new Set(events.flatMap((event) => readRedacted(event) ?? []))],
    all: events.map((event) => event.event_id).filter(isStorable),
  });
  const roomIds = new Map(found.rooms.map((room) => [room.matrix_room_id, room.id]));
  const known = rooms.flatMap(({ matrixRoomId, events }): RoomEvents[] => {
    const roomId = roomIds.get(matrixRoomId);
    return roomId === undefined ? [] : [{ roomId, matrixRoomId, events }];
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
    messages: new Map(found.messages.map((message) => [message.id, message])),
    messagesByEvent: new Map(
      found.messages.flatMap((message) => (message.event_id === null ? [] : [[message.event_id, message]])),
    ),
    redacted,
    waiting: found.waiting,
    redactedStates: await fetchRedactedStates(reader.request, known, redacted),
  };
  return { rooms: found.rooms, events: known, facts };
}

function nothingKnown({ tenantId, matrixUserId: observerMatrixId }: Reader): EventContext {
  return {
    tenantId,
    observerMatrixId,
    userIds: new Map(),
    names: new Map(),
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

/** Matrix ids that an event names. */
function readPeople({ type, sender, state_key: subject }: MatrixEvent): string[] {
  const named = type === EventType.RoomMember && subject !== undefined ? [sender, subject] : [sender];
  return named.filter(isStorable);
}
