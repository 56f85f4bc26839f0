import { z } from "zod";
import { rowsOf, type Db } from "../../shared/db/open.ts";
import type { Requester } from "../matrix/client.ts";
import { getState, MARKER } from "../matrix/rooms.ts";
import type { MatrixEvent } from "../matrix/sync-api.ts";
import { nameKey, type EventFacts, type MarkedMessage } from "../matrix/translate-event.ts";
import type { RoomEvents } from "./apply.ts";

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/** Names of people whom the tenant does not know that one answer's events are given; the rest stay nameless. */
const STRANGERS_AT_MOST = 20;
const LONGEST_NAME = 256;
/** A name is not worth more: whoever reads waits for it. */
const NAME_LIMIT_MS = 2_000;

export type Reader = { tenantId: string; matrixUserId: string; request: Requester };

/** Looks up whom and what some rooms' events speak of; all rooms are of the observer's tenant. */
export async function findEventFacts(
  db: Db,
  observer: Reader,
  rooms: readonly RoomEvents[],
): Promise<EventFacts> {
  const events = rooms.flatMap((room) => room.events);
  const { matrixUserId: observerMatrixId } = observer;
  if (events.length === 0) {
    return { observerMatrixId, userIds: new Map(), names: new Map(), messages: new Map() };
  }
  const matrixIds = new Set(events.flatMap(readPeople));
  const markers = new Set(events.flatMap(readMarker));
  const [users, messages] = await Promise.all([
    rowsOf<{ id: string; matrix_user_id: string }>(
      db,
      "select id, matrix_user_id from users where tenant_id = ? and matrix_user_id = any(?)",
      [observer.tenantId, [...matrixIds]],
    ),
    markers.size === 0 ? [] : findMarked(db, observer.tenantId, [...markers]),
  ]);
  const userIds = new Map(users.map((user) => [user.matrix_user_id, user.id]));
  return {
    observerMatrixId,
    userIds,
    names: await findNames(observer, rooms, userIds),
    messages: new Map(messages.map((message) => [message.id, message])),
  };
}

/** Matrix ids that an event speaks of. No id holds a NUL, which Postgres would refuse: a state key may be anything. */
function readPeople({ type, sender, state_key: subject }: MatrixEvent): string[] {
  const named = type === "m.room.member" && subject !== undefined ? [sender, subject] : [sender];
  return named.filter((id) => !id.includes("\0"));
}

/** Display names of those who speak and are not the tenant's: the events themselves do not tell. */
async function findNames(
  observer: Reader,
  rooms: readonly RoomEvents[],
  userIds: ReadonlyMap<string, string>,
): Promise<Map<string, string>> {
  const strangers = new Map<string, { matrixRoomId: string; matrixUserId: string }>();
  for (const { roomId, matrixRoomId, events } of rooms) {
    for (const { type, sender } of events) {
      const isStranger =
        type === "m.room.message" && !userIds.has(sender) && sender !== observer.matrixUserId;
      if (isStranger) strangers.set(nameKey(roomId, sender), { matrixRoomId, matrixUserId: sender });
    }
  }
  const found = await Promise.all(
    [...strangers].slice(0, STRANGERS_AT_MOST).map(async ([key, { matrixRoomId, matrixUserId }]) => {
      const member = { matrixRoomId, type: "m.room.member", key: matrixUserId };
      const request: Requester = (call) => observer.request({ ...call, timeoutMs: NAME_LIMIT_MS });
      // A name is not worth a gap: without it the person is nameless.
      const content = await getState(request, member).catch(() => null);
      return [key, readName(content)] as const;
    }),
  );
  return new Map(found.flatMap(([key, name]) => (name === null ? [] : [[key, name]])));
}

function readName(content: unknown): string | null {
  const parsed = z.object({ displayname: z.string() }).safeParse(content);
  if (!parsed.success) return null;
  // Made well-formed last: the cut may go through a character, and Postgres keeps no half of one.
  const safe = parsed.data.displayname.replaceAll("\0", "").slice(0, LONGEST_NAME).toWellFormed();
  return safe === "" ? null : safe;
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
