import type { Db } from "../../shared/db/connection/open.ts";
import { findNamed } from "../../shared/db/observers/find-named.ts";
import type { ObservedRoom } from "../../shared/db/observers/observed-rooms.ts";
import { readRedacted, type MatrixEvent } from "../matrix/event.ts";
import { CONTENT_EVENT_TYPES } from "../matrix/content/index.ts";
import type { Requester } from "../matrix/http/client.ts";
import { readMarker } from "../matrix/marker.ts";
import { EventType } from "../matrix/names.ts";
import { fetchRedactedStates } from "./redacted-states.ts";
import { fetchUnknownNames } from "./unknown-names.ts";
import type { RoomEvents } from "./sync-plan.ts";
import type { EventContext } from "./translate-event.ts";

/** An observer, as it reads: `request` makes calls as it. */
export type Reader = { observerId: string; tenantId: string; matrixUserId: string; request: Requester };

/** Events of a Matrix room, oldest first. */
export type EventsOfRoom = { matrixRoomId: string; events: readonly MatrixEvent[] };

/** What the tables hold of some events: the observer's rooms among those named, their events, and who and what these name. */
export type Seen = { rooms: ObservedRoom[]; events: RoomEvents[]; facts: EventContext };

/** Looks up what events name: rooms, people and messages, all of the observer's tenant. */
export async function lookUp(db: Db, reader: Reader, rooms: readonly EventsOfRoom[]): Promise<Seen> {
  if (rooms.length === 0) return { rooms: [], events: [], facts: nothingKnown(reader.matrixUserId) };
  const events = rooms.flatMap((room) => room.events);
  const found = await findNamed(db, reader, {
    rooms: rooms.map(({ matrixRoomId }) => matrixRoomId),
    people: [...new Set(events.flatMap(readPeople))],
    messages: [...new Set(events.flatMap((event) => readMarker(event) ?? []))],
    events: events.flatMap((event) => (mayBeOurs(event) ? [event.event_id] : [])).filter(isStorable),
    redacted: [...new Set(events.flatMap((event) => readRedacted(event) ?? []).filter(isStorable))],
  });
  const roomIds = new Map(found.rooms.map((room) => [room.matrix_room_id, room.id]));
  const known = rooms.flatMap(({ matrixRoomId, events }): RoomEvents[] => {
    const roomId = roomIds.get(matrixRoomId);
    return roomId === undefined ? [] : [{ roomId, matrixRoomId, events }];
  });
  const userIds = new Map(found.users.map((user) => [user.matrix_user_id, user.id]));
  const facts = {
    observerMatrixId: reader.matrixUserId,
    userIds,
    names: await fetchUnknownNames(reader, known, userIds),
    messages: new Map(found.messages.map((message) => [message.id, message])),
    messagesByEvent: new Map(
      found.messages.flatMap((message) => (message.event_id === null ? [] : [[message.event_id, message]])),
    ),
    redactedStates: await fetchRedactedStates(reader.request, known, new Set(found.redacted)),
  };
  return { rooms: found.rooms, events: known, facts };
}

function nothingKnown(observerMatrixId: string): EventContext {
  return {
    observerMatrixId,
    userIds: new Map(),
    names: new Map(),
    messages: new Map(),
    messagesByEvent: new Map(),
    redactedStates: new Map(),
  };
}

/** Whether an event may be a message of ours that lacks its marker. */
function mayBeOurs(event: MatrixEvent): boolean {
  const isMessage = event.state_key === undefined && CONTENT_EVENT_TYPES.includes(event.type);
  return isMessage && readMarker(event) === null;
}

/** Matrix ids that an event names. */
function readPeople({ type, sender, state_key: subject }: MatrixEvent): string[] {
  const named = type === EventType.RoomMember && subject !== undefined ? [sender, subject] : [sender];
  return named.filter(isStorable);
}

/** Any field of an event may be any text: one that Postgres refuses is no id. */
function isStorable(id: string): boolean {
  return !id.includes("\0") && id.isWellFormed();
}
