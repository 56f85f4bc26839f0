import { rowsOf, type Db } from "../../shared/db/open.ts";
import { MARKER } from "../matrix/rooms.ts";
import type { MatrixEvent } from "../matrix/sync-api.ts";
import { nameKey, type EventFacts, type MarkedMessage } from "../matrix/translate-event.ts";
import type { RoomEvents } from "./apply.ts";

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/** Looks up whom and what some rooms' events speak of; all rooms are of the observer's tenant. */
export async function findEventFacts(
  db: Db,
  observer: { tenantId: string; matrixUserId: string },
  rooms: readonly RoomEvents[],
): Promise<EventFacts> {
  const events = rooms.flatMap((room) => room.events);
  const matrixIds = new Set(events.flatMap((event) => [event.sender, event.state_key ?? event.sender]));
  if (events.length === 0)
    return {
      observerMatrixId: observer.matrixUserId,
      userIds: new Map(),
      names: new Map(),
      messages: new Map(),
    };
  const markers = new Set(events.flatMap(readMarker));
  const [users, messages] = await Promise.all([
    rowsOf<{ id: string; matrix_user_id: string }>(
      db,
      "select id, matrix_user_id from users where tenant_id = ? and matrix_user_id = any(?)",
      [observer.tenantId, [...matrixIds]],
    ),
    markers.size === 0 ? [] : findMarked(db, observer.tenantId, [...markers]),
  ]);
  return {
    observerMatrixId: observer.matrixUserId,
    userIds: new Map(users.map((user) => [user.matrix_user_id, user.id])),
    names: new Map(rooms.flatMap(readNames)),
    messages: new Map(messages.map((message) => [message.id, message])),
  };
}

const LONGEST_NAME = 256;

function readNames({ roomId, events, members }: RoomEvents): [string, string][] {
  return [...members, ...events].flatMap((event): [string, string][] => {
    const name = event.content["displayname"];
    if (event.type !== "m.room.member" || event.state_key === undefined || typeof name !== "string")
      return [];
    const safe = name.toWellFormed().replaceAll("\0", "").slice(0, LONGEST_NAME);
    return safe === "" ? [] : [[nameKey(roomId, event.state_key), safe]];
  });
}

function readMarker(event: MatrixEvent): string[] {
  const marker = event.content[MARKER];
  return typeof marker === "string" && UUID.test(marker) ? [marker] : [];
}

function findMarked(db: Db, tenantId: string, ids: readonly string[]): Promise<MarkedMessage[]> {
  return rowsOf<MarkedMessage>(
    db,
    `select m.id, m.room_id, m.sender_id, u.matrix_user_id as sender_matrix_id, m.client_id, m.content, m.accepted_at,
            m.timeline_number, m.event_id
       from messages m join users u on u.id = m.sender_id
      where m.tenant_id = ? and m.id = any(?)`,
    [tenantId, ids],
  );
}
