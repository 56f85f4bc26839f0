import { findMyRooms, presentMyRooms } from "../db/rooms/my-rooms.ts";
import { readRoomKeys } from "../db/rooms/room-keys.ts";
import { deleteUserEvents, lockUserEvents, type QueuedUserEvent } from "../db/users/user-event-outbox.ts";
import { readTokensValidFrom } from "../db/users/user-tokens.ts";
import type { Db } from "../db/connection/open.ts";
import type { Redis } from "../platform/redis.ts";
import type { Publication } from "../contract/frames.ts";
import type { MyRoomResource } from "../contract/resources.ts";
import { sendControlMessage, publishUserEvent } from "./user-stream.ts";

/** Close code of a user who is locked or deleted, and of a revoked token. */
const LOCKED_CODE = 3503;

/**
 * Publishes the user events of the outbox to the users' connections, oldest first, `limit` events at most. An event is
 * deleted when Redis has taken it. Publish the rooms' timelines first: then a removed member receives the entry of the
 * removal too. Several processes may run it at once: each takes other events. Returns how many it published.
 * @throws what Redis or Postgres throws; the events stay, and the sweeper repeats it.
 */
export async function publishUserEventOutbox(
  { db, redis }: { db: Db; redis: Redis },
  limit: number,
): Promise<number> {
  return db.transaction(async (trx) => {
    const events = await lockUserEvents(trx, limit);
    if (events.length === 0) return 0;
    const removedFrom = events.flatMap(({ kind, room_id }) =>
      kind === "room.removed" && room_id !== null ? [room_id] : [],
    );
    const read = {
      current: await readCurrentRooms(trx, events),
      tokensValidFrom: await readTokensValidFrom(
        trx,
        events.flatMap(({ kind, user_id: userId }) => (kind === "tokens.revoked" ? [userId] : [])),
      ),
      keys: await readRoomKeys(trx, removedFrom),
    };
    await Promise.all(
      groupByUser(events).map(async (group) => {
        for (const event of group) await publish(redis, event, read);
      }),
    );
    await deleteUserEvents(
      trx,
      events.map(({ id }) => id),
    );
    return events.length;
  });
}

/** `current`: the rooms that users are in now, by user and room. `keys`: by room. `tokensValidFrom`: by user. */
type Read = {
  current: ReadonlyMap<string, MyRoomResource>;
  keys: ReadonlyMap<string, string>;
  tokensValidFrom: ReadonlyMap<string, Date>;
};

async function publish(redis: Redis, event: QueuedUserEvent, read: Read): Promise<void> {
  const { user_id: userId, room_id: roomId } = event;
  if (event.kind === "user.gone")
    return sendControlMessage(redis, userId, { kind: "disconnect", code: LOCKED_CODE });
  if (event.kind === "tokens.revoked") {
    const validFrom = read.tokensValidFrom.get(userId);
    if (!validFrom) return;
    const issuedBeforeMs = validFrom.getTime();
    return sendControlMessage(redis, userId, { kind: "disconnect", code: LOCKED_CODE, issuedBeforeMs });
  }
  if (roomId === null) return;
  const current = read.current.get(`${userId} ${roomId}`);
  if (event.kind === "room.added") {
    if (!current) return;
    await sendControlMessage(redis, userId, { kind: "subscribe", roomId });
    await publishUserEvent(redis, userId, {
      type: "room.added",
      // A user's stream never holds the text of a message.
      room: { ...current, lastMessage: null },
    });
    return;
  }
  if (event.kind === "room.renamed") {
    if (current && event.former_key !== null)
      await publishRenamed(redis, userId, roomId, event.former_key, current);
    return;
  }
  if (event.kind === "settings") {
    if (current) await publishUserEvent(redis, userId, toSettings(current));
    return;
  }
  // The user is in the room again: a later event says so, and another process may have published it already.
  if (current) return;
  await sendControlMessage(redis, userId, { kind: "unsubscribe", roomId });
  const room = read.keys.get(roomId);
  if (room !== undefined) await publishUserEvent(redis, userId, { type: "room.removed", room });
}

/** The room goes under its former key, and comes under the present one. */
async function publishRenamed(
  redis: Redis,
  userId: string,
  roomId: string,
  formerKey: string,
  current: MyRoomResource,
): Promise<void> {
  await sendControlMessage(redis, userId, { kind: "subscribe", roomId });
  await publishUserEvent(redis, userId, { type: "room.removed", room: formerKey, movedTo: current.room });
  await publishUserEvent(redis, userId, { type: "room.added", room: { ...current, lastMessage: null } });
}

/** The settings as they are now: a later event has the same. */
function toSettings({ room, settings }: MyRoomResource): Publication {
  return { type: "settings", room, settings };
}

async function readCurrentRooms(
  db: Db,
  events: readonly QueuedUserEvent[],
): Promise<Map<string, MyRoomResource>> {
  const pairs = events.flatMap(({ user_id, room_id }) =>
    room_id === null ? [] : [{ userId: user_id, roomId: room_id }],
  );
  if (pairs.length === 0) return new Map();
  const rows = await findMyRooms(db, pairs);
  const resources = await presentMyRooms(db, rows);
  return new Map(
    rows.flatMap((row, index) => (resources[index] ? [[`${row.user_id} ${row.id}`, resources[index]]] : [])),
  );
}

function groupByUser(events: readonly QueuedUserEvent[]): QueuedUserEvent[][] {
  const groups = new Map<string, QueuedUserEvent[]>();
  for (const event of events) {
    const group = groups.get(event.user_id);
    if (group) group.push(event);
    else groups.set(event.user_id, [event]);
  }
  return [...groups.values()];
}
