import { openDb } from "../../shared/db/connection/open.ts";
import { newId } from "../../shared/platform/ids.ts";
import { createLog } from "../../shared/platform/log.ts";
import { roomStreamKey } from "../../shared/platform/redis-keys.ts";
import { openRedis, waitForRedis, type Redis } from "../../shared/platform/redis.ts";
import { publishAppended, type PublishableRow } from "../../shared/timeline/publish.ts";

/** Redis's memory for the streams of many quiet rooms, and of one busy room, in bytes. */
export type StreamMemory = { quietRooms: number; busyRoom: number };

const QUIET_ROOMS = 1_000;
const QUIET_ENTRIES = 300;
const BUSY_ENTRIES = 5_000;
const BATCH_ENTRIES = 300;
const ROOMS_AT_ONCE = 10;

/**
 * Publishes messages with texts of `text` to rooms that no database knows, reads what Redis allocates for their streams, and
 * deletes them.
 */
export async function measureStreams(
  { databaseUrl, redisUrl }: { databaseUrl: string; redisUrl: string },
  text: string,
): Promise<StreamMemory> {
  const db = openDb({ url: databaseUrl, name: "bench", max: 1 });
  const redis = openRedis(redisUrl, createLog({ level: "silent", tier: "bench" }), "bench");
  await waitForRedis(redis, 5_000);
  const measure = async (rooms: number, entries: number) => {
    let bytes = 0;
    for (let room = 0; room < rooms; room += ROOMS_AT_ONCE) {
      const some = Array.from({ length: Math.min(ROOMS_AT_ONCE, rooms - room) }, () =>
        measureStream({ db, redis }, entries, text),
      );
      for (const size of await Promise.all(some)) bytes += size;
    }
    return bytes;
  };
  try {
    return {
      quietRooms: await measure(QUIET_ROOMS, QUIET_ENTRIES),
      busyRoom: await measure(1, BUSY_ENTRIES),
    };
  } finally {
    redis.disconnect();
    await db.destroy();
  }
}

async function measureStream(
  deps: { db: ReturnType<typeof openDb>; redis: Redis },
  entries: number,
  text: string,
): Promise<number> {
  const room = { roomId: newId(), epoch: newId(), senderId: newId() };
  const key = roomStreamKey(room.roomId, room.epoch);
  for (let from = 1; from <= entries; from += BATCH_ENTRIES) {
    const numbers = Array.from({ length: Math.min(BATCH_ENTRIES, entries - from + 1) }, (_, n) => from + n);
    await publishAppended(
      deps,
      numbers.map((number) => createRow(room, number, text)),
    );
  }
  const length = await deps.redis.xlen(key);
  if (length !== entries) throw new Error(`the stream has ${String(length)} entries`);
  const bytes = await deps.redis.memory("USAGE", key, "SAMPLES", 0);
  await deps.redis.del(key);
  return bytes ?? 0;
}

function createRow(
  { roomId, epoch, senderId }: { roomId: string; epoch: string; senderId: string },
  number: number,
  text: string,
): PublishableRow {
  return {
    ...{ room_id: roomId, epoch, last_number: number, number, entry_id: newId(), type: "message.created" },
    ...{ client_id: newId(), content: { text }, at: new Date(), sender_id: senderId, sender_name: null },
    ...{ revision: null, edit_content: null, edited_at: null, deletion: null, reactions: null, reply: null },
    ...{ target: null, reactors: null, sender_ref: null, scrubs: 0 },
    ...{ relates_to: null, redacted_at: null, sender_user: "a-user-of-a-product", sender_avatar: null },
    ...{ sender_display_name: "A. User", kind: "group", slug: "a-room-of-usual-length" },
    ...{ status: "queued", error_code: null, error_message: null, request_id: newId() },
  };
}
