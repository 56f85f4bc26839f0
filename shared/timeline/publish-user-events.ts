import { findMyRooms, presentMyRooms } from "../db/rooms/my-rooms.ts";
import { deleteUserEvents, lockUserEvents, type QueuedUserEvent } from "../db/users/user-event-outbox.ts";
import { rowsOf, type Db } from "../db/connection/open.ts";
import { formatRoomKey, type RoomKind } from "../contract/names.ts";
import type { Redis } from "../platform/redis.ts";
import type { MyRoomResource } from "../contract/resources.ts";
import { sendControlMessage, publishUserEvent } from "./user-stream.ts";

/** Close code of a user who is locked or deleted. */
const LOCKED_CODE = 3503;

/**
 * Tells people's connections what they must hear, oldest first, `limit` notices at most; a notice goes when Redis has
 * taken it. Publish the rooms' timelines before, so that a removal comes as the entry that it is. Several may run at
 * once: each takes other notices. Returns how many were told.
 * @throws what Redis or Postgres throws; the notices stay, and the sweeper repeats it.
 */
export async function publishUserEventOutbox(
  { db, redis }: { db: Db; redis: Redis },
  limit: number,
): Promise<number> {
  return db.transaction(async (trx) => {
    const notices = await lockUserEvents(trx, limit);
    if (notices.length === 0) return 0;
    const rooms = { current: await readCurrentRooms(trx, notices), keys: await readRoomKeys(trx, notices) };
    await Promise.all(
      groupByUser(notices).map(async (group) => {
        for (const notice of group) await tell(redis, notice, rooms);
      }),
    );
    await deleteUserEvents(
      trx,
      notices.map(({ id }) => id),
    );
    return notices.length;
  });
}

/** `current`: the rooms that people are in now, by user and room. `keys`: by room. */
type Rooms = { current: ReadonlyMap<string, MyRoomResource>; keys: ReadonlyMap<string, string> };

async function tell(redis: Redis, notice: QueuedUserEvent, rooms: Rooms): Promise<void> {
  const { user_id: userId, room_id: roomId } = notice;
  if (notice.kind === "user.gone")
    return sendControlMessage(redis, userId, { kind: "disconnect", code: LOCKED_CODE });
  if (roomId === null) return;
  const current = rooms.current.get(`${userId} ${roomId}`);
  if (notice.kind === "room.added") {
    if (!current) return;
    await sendControlMessage(redis, userId, { kind: "subscribe", roomId });
    await publishUserEvent(redis, userId, { type: "room.added", room: current });
    return;
  }
  // Whoever is in again is told so by a later notice, which another process may have told already.
  if (current) return;
  await sendControlMessage(redis, userId, { kind: "unsubscribe", roomId });
  const room = rooms.keys.get(roomId);
  if (room !== undefined) await publishUserEvent(redis, userId, { type: "room.removed", room });
}

async function readCurrentRooms(
  db: Db,
  notices: readonly QueuedUserEvent[],
): Promise<Map<string, MyRoomResource>> {
  const pairs = notices.flatMap(({ user_id, room_id }) =>
    room_id === null ? [] : [{ userId: user_id, roomId: room_id }],
  );
  if (pairs.length === 0) return new Map();
  const rows = await findMyRooms(db, pairs);
  const resources = await presentMyRooms(db, rows);
  return new Map(
    rows.flatMap((row, index) => (resources[index] ? [[`${row.user_id} ${row.id}`, resources[index]]] : [])),
  );
}

async function readRoomKeys(db: Db, notices: readonly QueuedUserEvent[]): Promise<Map<string, string>> {
  const roomIds = notices.flatMap(({ kind, room_id }) =>
    kind === "room.removed" && room_id !== null ? [room_id] : [],
  );
  if (roomIds.length === 0) return new Map();
  const rows = await rowsOf<{ id: string; kind: RoomKind; slug: string }>(
    db,
    "select id, kind, slug from rooms where id = any(?)",
    [roomIds],
  );
  return new Map(rows.map((row) => [row.id, formatRoomKey(row)]));
}

function groupByUser(notices: readonly QueuedUserEvent[]): QueuedUserEvent[][] {
  const groups = new Map<string, QueuedUserEvent[]>();
  for (const notice of notices) {
    const group = groups.get(notice.user_id);
    if (group) group.push(notice);
    else groups.set(notice.user_id, [notice]);
  }
  return [...groups.values()];
}
