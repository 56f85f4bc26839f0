import { z } from "zod";
import { BIG_ROOM_MEMBERS } from "../../contract/big-room.ts";
import { PRESENCE_PROCESSES_KEY, roomLiveChannel, roomPresenceKey } from "../../platform/redis-keys.ts";
import { createScript, runScripts, type ScriptCall } from "../../platform/redis-script.ts";
import type { Redis } from "../../platform/redis.ts";

/** How long what a process said of a room is kept. It says it again within a third of it. */
export const PRESENCE_KEPT_MS = 3_600_000;

const NOW = `
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)`;

// The users of a room, of the processes that live; each once. What others left is removed. KEYS room, processes.
const FUNCTIONS = `${NOW}
local function present()
  local sets = {}
  for _, process in ipairs(redis.call('HKEYS', KEYS[1])) do
    if string.sub(process, 1, 1) ~= '@' then
      local set = KEYS[1] .. ':' .. process
      if tonumber(redis.call('ZSCORE', KEYS[2], process) or '0') >= now then sets[#sets + 1] = set
      else
        redis.call('DEL', set)
        redis.call('HDEL', KEYS[1], process)
      end
    end
  end
  if #sets == 0 then return {} end
  return redis.call('SUNION', unpack(sets))
end
`;

// KEYS room, processes; ARGV process, how long it is kept, least ms between publications, users listed at most, live channel,
// room's key, 1: these are all users of the process, how many users came; who came, who went. A room's hash has a field for each
// process with users, and `@data` and `@at` of the last publication.
const SAY_PRESENT = createScript(`${FUNCTIONS}
local own = KEYS[1] .. ':' .. ARGV[1]
if ARGV[7] == '1' then redis.call('DEL', own)
elseif redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then return -1 end
for i = 9, #ARGV do redis.call(i < 9 + tonumber(ARGV[8]) and 'SADD' or 'SREM', own, ARGV[i]) end
if redis.call('PEXPIRE', own, ARGV[2]) == 1 then redis.call('HSET', KEYS[1], ARGV[1], '')
else redis.call('HDEL', KEYS[1], ARGV[1]) end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
local at = tonumber(redis.call('HGET', KEYS[1], '@at') or '0')
if at <= now and now < at + ARGV[3] then return at + ARGV[3] - now end
local users = present()
local data = '{"type":"presence","room":' .. cjson.encode(ARGV[6]) .. ',"online":' .. #users
if #users <= tonumber(ARGV[4]) then
  table.sort(users)
  data = data .. ',"users":' .. (#users == 0 and '[]' or cjson.encode(users))
end
data = data .. '}'
if data ~= redis.call('HGET', KEYS[1], '@data') then
  redis.call('HSET', KEYS[1], '@data', data, '@at', now)
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  redis.call('PUBLISH', ARGV[5], '{"number":null,"epoch":"","leaver":null,"data":' .. cjson.encode(data) .. '}')
end
return 0`);

const READ_PRESENT = createScript(`${FUNCTIONS}
local users = present()
if #users > tonumber(ARGV[1]) then return {#users} end
table.sort(users)
return {#users, users}`);

// KEYS processes; ARGV process, lease in ms, 1: it begins. Returns the processes that live; nothing when its own lease has ended.
const RENEW = createScript(`${NOW}
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - 1)
if ARGV[3] ~= '1' and not redis.call('ZSCORE', KEYS[1], ARGV[1]) then return {} end
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
return redis.call('ZRANGE', KEYS[1], 0, -1)`);

/** What a process says of a room. `isWhole`: `came` are all its users there. */
export type PresenceUpdate = {
  process: string;
  room: { id: string; channel: string; members: number };
  isWhole: boolean;
  came: readonly string[];
  went: readonly string[];
  minIntervalMs: number;
};

/** Notes who is present, and publishes it when that changed and the last publication is long enough ago. */
export function presenceCall({
  process,
  room,
  isWhole,
  came,
  went,
  minIntervalMs,
}: PresenceUpdate): ScriptCall {
  return {
    script: SAY_PRESENT,
    keys: [roomPresenceKey(room.id), PRESENCE_PROCESSES_KEY],
    args: [
      ...[process, PRESENCE_KEPT_MS, minIntervalMs, listedAtMost(room.members), roomLiveChannel(room.id)],
      ...[room.channel, isWhole ? 1 : 0, came.length, ...came, ...went],
    ],
  };
}

/** How long the room's next publication must wait, or that Redis has lost what the process said before. */
export function readPresenceReply(reply: unknown): { waitMs: number } | "lost" {
  const waitMs = z.int().parse(reply);
  return waitMs < 0 ? "lost" : { waitMs };
}

/** The users with a socket, by name; `users` only in a room of at most 100 members. @throws what Redis throws */
export async function readPresence(
  redis: Redis,
  room: { room_id: string; member_count: number },
): Promise<{ online: number; users?: string[] }> {
  const keys = [roomPresenceKey(room.room_id), PRESENCE_PROCESSES_KEY];
  const [reply] = await runScripts(redis, [
    { script: READ_PRESENT, keys, args: [listedAtMost(room.member_count)] },
  ]);
  const [online, users] = presentReply.parse(reply);
  return users ? { online, users } : { online };
}
const presentReply = z.union([z.tuple([z.int(), z.array(z.string())]), z.tuple([z.int()])]);

/** Renews the lease of a process. Returns the processes that live, or null when its own lease has ended. */
export async function renewPresence(
  redis: Redis,
  { process, leaseMs, isNew }: { process: string; leaseMs: number; isNew: boolean },
): Promise<string[] | null> {
  const [reply] = await runScripts(redis, [
    { script: RENEW, keys: [PRESENCE_PROCESSES_KEY], args: [process, leaseMs, isNew ? 1 : 0] },
  ]);
  const processes = z.array(z.string()).parse(reply);
  return processes.length === 0 ? null : processes;
}

/** Ends the lease of a process: nobody is present by its word any more. */
export async function endPresence(redis: Redis, process: string): Promise<void> {
  await redis.zrem(PRESENCE_PROCESSES_KEY, process);
}

/** In a big room nobody is named. */
function listedAtMost(members: number): number {
  return members > BIG_ROOM_MEMBERS ? -1 : BIG_ROOM_MEMBERS;
}
