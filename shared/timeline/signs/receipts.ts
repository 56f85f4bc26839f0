import { formatRoomKey, type RoomAddress } from "../../contract/names.ts";
import type { Publication } from "../../contract/frames.ts";
import type { Person } from "../../contract/resources.ts";
import { roomLiveChannel, roomSignsKey, SIGNS_DUE_KEY } from "../../platform/redis-keys.ts";
import { createScript, runScripts, type ScriptCall } from "../../platform/redis-script.ts";
import type { Redis } from "../../platform/redis.ts";
import type { RoomLiveMessage } from "../live-messages.ts";

/** How far a person has read a room, as others may see it. */
export type Receipt = {
  room: RoomAddress & { room_id: string; epoch: string };
  person: Person;
  number: number;
  /** Whether Matrix is to have it too. Then `person.ref` is the row id of a user. */
  isForMatrix: boolean;
};

// ARGV channel, message; for Matrix: room's id, user, number, else nothing.
const PUBLISH_RECEIPT = createScript(`
redis.call('PUBLISH', ARGV[1], ARGV[2])
if not ARGV[3] then return end
local field = 'r' .. ARGV[4]
if tonumber(redis.call('HGET', KEYS[1], field) or '0') >= tonumber(ARGV[5]) then return end
local time = redis.call('TIME')
redis.call('HSET', KEYS[1], field, ARGV[5])
redis.call('PEXPIRE', KEYS[1], 60000)
redis.call('ZADD', KEYS[2], 'NX', tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000), ARGV[3])`);

/**
 * Publishes receipts, each after the entry that it names, and has Matrix follow. They are published once: nothing repeats one
 * that is lost. @throws what Redis throws
 */
export async function publishReceipts(redis: Redis, receipts: readonly Receipt[]): Promise<void> {
  await runScripts(redis, receipts.map(toCall));
}

function toCall({ room, person, number, isForMatrix }: Receipt): ScriptCall {
  const publication: Publication = { type: "receipt", room: formatRoomKey(room), user: person, number };
  const live: RoomLiveMessage = {
    ...{ number: null, after: number, epoch: room.epoch, leaver: null, requestId: null },
    data: JSON.stringify(publication),
  };
  return {
    script: PUBLISH_RECEIPT,
    keys: [roomSignsKey(room.room_id), SIGNS_DUE_KEY],
    args: [
      ...[roomLiveChannel(room.room_id), JSON.stringify(live)],
      ...(isForMatrix ? [room.room_id, person.ref, number] : []),
    ],
  };
}
