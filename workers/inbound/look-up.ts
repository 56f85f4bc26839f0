import { z } from "zod";
import { rowsOf, type Db } from "../../shared/db/connection/open.ts";
import type { Requester } from "../matrix/http/client.ts";
import { readMarker } from "../matrix/marker.ts";
import { getState } from "../matrix/rooms/state.ts";
import type { MatrixEvent } from "../matrix/event.ts";
import { EventType } from "../matrix/names.ts";
import { CONTENT_EVENT_TYPES } from "../matrix/content/index.ts";
import { nameKey, type EventContext, type MarkedMessage } from "./translate-event.ts";
import type { RoomEvents } from "./sync-plan.ts";
import type { ObservedRoom } from "../../shared/db/observers/observed-rooms.ts";

/** Names of people whom the tenant does not know that one answer's events are given; the rest stay nameless. */
const STRANGERS_AT_MOST = 20;
const LONGEST_NAME = 256;
/** A name is not worth more: whoever reads waits for it. */
const NAME_LIMIT_MS = 2_000;

export type Reader = { observerId: string; tenantId: string; matrixUserId: string; request: Requester };

/** Events of a Matrix room, oldest first. */
export type Offered = { matrixRoomId: string; events: readonly MatrixEvent[] };

/** What the tables say of some events: the observer's rooms among those named, their events, whom and what these mean. */
export type Seen = { rooms: ObservedRoom[]; events: RoomEvents[]; facts: EventContext };

/** Looks up the rooms that events are of, and whom and what they speak of; all are of the observer's tenant. */
export async function lookUp(db: Db, observer: Reader, offered: readonly Offered[]): Promise<Seen> {
  if (offered.length === 0) return { rooms: [], events: [], facts: noFacts(observer.matrixUserId) };
  const events = offered.flatMap((room) => room.events);
  const found = await findNamed(db, observer, {
    rooms: offered.map(({ matrixRoomId }) => matrixRoomId),
    people: [...new Set(events.flatMap(readPeople))],
    markers: [...new Set(events.flatMap((event) => readMarker(event) ?? []))],
  });
  const roomIds = new Map(found.rooms.map((room) => [room.matrix_room_id, room.id]));
  const known = offered.flatMap(({ matrixRoomId, events }): RoomEvents[] => {
    const roomId = roomIds.get(matrixRoomId);
    return roomId === undefined ? [] : [{ roomId, matrixRoomId, events }];
  });
  const userIds = new Map(found.users.map((user) => [user.matrix_user_id, user.id]));
  const facts = {
    observerMatrixId: observer.matrixUserId,
    userIds,
    names: await findNames(observer, known, userIds),
    messages: new Map(found.messages.map((message) => [message.id, message])),
  };
  return { rooms: found.rooms, events: known, facts };
}

function noFacts(observerMatrixId: string): EventContext {
  return { observerMatrixId, userIds: new Map(), names: new Map(), messages: new Map() };
}

type Found = {
  rooms: ObservedRoom[];
  users: { id: string; matrix_user_id: string }[];
  messages: MarkedMessage[];
};

// Lists come as JSON: of what a list of parameters holds Postgres makes a new plan each time, which every message waits for.
const FIND_NAMED = `
  select (select coalesce(jsonb_agg(jsonb_build_object('id', r.id, 'matrix_room_id', r.matrix_room_id, 'gap_from', t.gap_from)), '[]')
            from jsonb_array_elements_text(named.list -> 'rooms') as n(matrix_room_id)
            join rooms r on r.observer_id = :observerId and r.matrix_room_id = n.matrix_room_id and r.deleted_at is null
            join room_timeline t on t.room_id = r.id) as rooms,
         (select coalesce(jsonb_agg(jsonb_build_object('id', u.id, 'matrix_user_id', u.matrix_user_id)), '[]')
            from jsonb_array_elements_text(named.list -> 'people') as n(matrix_user_id)
            join users u on u.tenant_id = :tenantId and u.matrix_user_id = n.matrix_user_id) as users,
         (select coalesce(jsonb_agg(jsonb_build_object(
                   'id', m.id, 'room_id', m.room_id, 'sender_id', m.sender_id, 'sender_matrix_id', u.matrix_user_id,
                   'client_id', m.client_id, 'content', m.content, 'accepted_at', m.accepted_at,
                   'timeline_number', m.timeline_number, 'event_id', m.event_id)), '[]')
            from jsonb_array_elements_text(named.list -> 'markers') as n(id)
            join messages m on m.id = cast(n.id as uuid) and m.tenant_id = :tenantId
            join users u on u.id = m.sender_id) as messages
    from (select cast(:named as jsonb) as list) named`;

async function findNamed(
  db: Db,
  { observerId, tenantId }: Reader,
  named: { rooms: string[]; people: string[]; markers: string[] },
): Promise<Found> {
  type Row = Omit<Found, "messages"> & {
    messages: (Omit<MarkedMessage, "accepted_at"> & { accepted_at: string })[];
  };
  const [row] = await rowsOf<Row>(db, FIND_NAMED, { observerId, tenantId, named: JSON.stringify(named) });
  const { rooms = [], users = [], messages = [] } = row ?? {};
  return {
    rooms,
    users,
    messages: messages.map((message) => ({ ...message, accepted_at: new Date(message.accepted_at) })),
  };
}

/** Matrix ids that an event speaks of. No id holds what Postgres would refuse, but a state key may be anything. */
function readPeople({ type, sender, state_key: subject }: MatrixEvent): string[] {
  const named = type === EventType.RoomMember && subject !== undefined ? [sender, subject] : [sender];
  return named.filter((id) => !id.includes("\0") && id.isWellFormed());
}

/** Display names of those who speak and are not the tenant's: the events themselves do not tell. */
async function findNames(
  observer: Reader,
  rooms: readonly RoomEvents[],
  userIds: ReadonlyMap<string, string>,
): Promise<Map<string, string>> {
  const unknownUsers = new Map<string, { matrixRoomId: string; matrixUserId: string }>();
  for (const { roomId, matrixRoomId, events } of rooms) {
    for (const { type, sender } of events) {
      const isStranger =
        CONTENT_EVENT_TYPES.includes(type) && !userIds.has(sender) && sender !== observer.matrixUserId;
      if (isStranger) unknownUsers.set(nameKey(roomId, sender), { matrixRoomId, matrixUserId: sender });
    }
  }
  const found = await Promise.all(
    [...unknownUsers].slice(0, STRANGERS_AT_MOST).map(async ([key, { matrixRoomId, matrixUserId }]) => {
      const member = { matrixRoomId, type: EventType.RoomMember, key: matrixUserId };
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
