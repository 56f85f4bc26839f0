import { BIG_ROOM_MEMBERS } from "../../contract/big-room.ts";
import { formatRoomKey, type RoomAddress } from "../../contract/names.ts";
import type { Person } from "../../contract/resources.ts";
import {
  roomLiveChannel,
  roomSignsKey,
  roomTypingKey,
  SIGNS_DUE_KEY,
  TYPING_DUE_KEY,
} from "../../platform/redis-keys.ts";
import { createScript, runScripts, type ScriptCall } from "../../platform/redis-script.ts";
import type { Redis } from "../../platform/redis.ts";
import { TYPING_FUNCTIONS } from "./typing-script.ts";

/** A person is typing for this long after the last time that the person said so. */
const TYPING_MS = 8_000;
/**
 * The same of what Matrix says, which is the list of all who type, whenever it changes: a long text makes one list at its
 * beginning. This ends what an observer missed the end of.
 */
const TYPING_ON_MATRIX_MS = 120_000;
/** For how long Matrix may return a sign of ours: it is sent some seconds later, and ends there by itself. */
const ECHO_MS = 25_000;
/** Fields of a room's hash: beyond them nobody else is noted as typing. */
const FIELDS_AT_MOST = 200;
/** How many people a publication shows in a big room. */
const PEOPLE_IN_BIG_ROOM = 3;

/** A room as its publications need it. */
export type TypingRoom = RoomAddress & { room_id: string; member_count: number };

const SET_TYPING = createScript(`${TYPING_FUNCTIONS}
local K = keysFrom(1)
local roomId, head, ref, person = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local field = 'a' .. ref
local old = redis.call('HGET', K.typing, field)
if person == '' then
  if not old then return end
  redis.call('HDEL', K.typing, field)
  queueTyping(K, roomId, ref, '0')
else
  if not old and redis.call('HLEN', K.typing) >= tonumber(ARGV[7]) then return end
  local since = old and string.match(old, '^%d+ (%d+)') or now
  redis.call('HSET', K.typing, 'head', head, field, (now + ARGV[5]) .. ' ' .. since .. ' ' .. person, 'e' .. ref, now + ARGV[6])
  queueTyping(K, roomId, ref, '1')
end
publishTyping(K, roomId)`);

// Replaces what Matrix says. ARGV room's id, head, how long it is valid, fields at most; ref and person of each.
const SET_TYPING_ON_MATRIX = createScript(`${TYPING_FUNCTIONS}
local K = keysFrom(1)
local roomId = ARGV[1]
local known = {}
for _, name in ipairs(redis.call('HKEYS', K.typing)) do
  if string.sub(name, 1, 1) == 'm' then known[name] = redis.call('HGET', K.typing, name) end
end
local named = {}
for i = 5, #ARGV, 2 do
  local field, echo = 'm' .. ARGV[i], redis.call('HGET', K.typing, 'e' .. ARGV[i])
  local isOurs = echo and tonumber(echo) > now
  if not isOurs and redis.call('HLEN', K.typing) < tonumber(ARGV[4]) then
    local since = known[field] and string.match(known[field], '^%d+ (%d+)') or now
    named[field] = true
    redis.call('HSET', K.typing, 'head', ARGV[2], field, (now + ARGV[3]) .. ' ' .. since .. ' ' .. ARGV[i + 1])
  end
end
for field in pairs(known) do
  if not named[field] then redis.call('HDEL', K.typing, field) end
end
publishTyping(K, roomId)`);

const END_EXPIRED = createScript(`${TYPING_FUNCTIONS}
publishTyping(keysFrom(1), ARGV[1])`);

/** The keys with which `TYPING_FUNCTIONS` work, in the order of `keysFrom`. */
export function typingKeys(roomId: string): string[] {
  return [roomTypingKey(roomId), TYPING_DUE_KEY, roomSignsKey(roomId), SIGNS_DUE_KEY];
}

/**
 * Notes that a person types, for 8 s, or types no more; publishes the list of all who type when it changes, and has Matrix
 * follow. `person.ref` is the row id of the user. One command.
 * @throws what Redis throws
 */
export async function setTyping(
  redis: Redis,
  room: TypingRoom,
  { person, isTyping }: { person: Person; isTyping: boolean },
): Promise<void> {
  const text = isTyping ? JSON.stringify(person) : "";
  const args = [room.room_id, headOf(room), person.ref, text, TYPING_MS, ECHO_MS, FIELDS_AT_MOST];
  await runScripts(redis, [{ script: SET_TYPING, keys: typingKeys(room.room_id), args }]);
}

/** Notes who types on Matrix, all of them for each room. @throws what Redis throws */
export async function setTypingOnMatrix(
  redis: Redis,
  rooms: readonly { room: TypingRoom; people: readonly Person[] }[],
): Promise<void> {
  const calls = rooms.map(({ room, people }): ScriptCall => ({
    script: SET_TYPING_ON_MATRIX,
    keys: typingKeys(room.room_id),
    args: [
      ...[room.room_id, headOf(room), TYPING_ON_MATRIX_MS, FIELDS_AT_MOST],
      ...people.flatMap((person) => [person.ref, JSON.stringify(person)]),
    ],
  }));
  await runScripts(redis, calls);
}

/** Publishes the lists of rooms where somebody's time is over, `limit` at most. Several processes may run it at once. */
export async function endExpiredTyping(redis: Redis, nowMs: number, limit: number): Promise<void> {
  const roomIds = await redis.zrangebyscore(TYPING_DUE_KEY, "-inf", nowMs, "LIMIT", 0, limit);
  const calls = roomIds.map((roomId) => ({ script: END_EXPIRED, keys: typingKeys(roomId), args: [roomId] }));
  await runScripts(redis, calls);
}

/** What a room's hash keeps so that any script can publish. */
function headOf(room: TypingRoom): string {
  const most = room.member_count > BIG_ROOM_MEMBERS ? PEOPLE_IN_BIG_ROOM : BIG_ROOM_MEMBERS;
  return `${most} ${room.room_id} ${roomLiveChannel(room.room_id)} ${JSON.stringify(formatRoomKey(room))}`;
}
