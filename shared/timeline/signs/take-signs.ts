import { z } from "zod";
import { roomSignsKey, SIGNS_DUE_KEY } from "../../platform/redis-keys.ts";
import { createScript, runScripts } from "../../platform/redis-script.ts";
import type { Redis } from "../../platform/redis.ts";

/** What Matrix is to have of one person in one room. Null: nothing new. */
export type Sign = { roomId: string; userId: string; isTyping: boolean | null; number: number | null };

/** Signs of one person in one room go to Matrix at most once in this time. */
const PAUSE_MS = 4_000;
const ROOMS_AT_ONCE = 50;

// Takes what is due of rooms that are due: `t<user>` (typing) and `r<user>` (read up to). `p<user>`: until when the person's
// signs wait. ARGV rooms at most, pause, the parts of a room's key around its id.
const TAKE = createScript(`
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local taken = {}
for _, roomId in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[1])) do
  local key = ARGV[3] .. roomId .. ARGV[4]
  local fields = redis.call('HGETALL', key)
  local typing, read, waits, users, nextAt = {}, {}, {}, {}, nil
  for i = 1, #fields, 2 do
    local what, user = string.sub(fields[i], 1, 1), string.sub(fields[i], 2)
    if what == 'p' then
      if tonumber(fields[i + 1]) > now then waits[user] = tonumber(fields[i + 1]) else redis.call('HDEL', key, fields[i]) end
    else
      users[user] = true
      if what == 't' then typing[user] = fields[i + 1] else read[user] = fields[i + 1] end
    end
  end
  for user in pairs(users) do
    if waits[user] then
      if not nextAt or waits[user] < nextAt then nextAt = waits[user] end
    else
      taken[#taken + 1] = {roomId, user, typing[user] or '', read[user] or ''}
      redis.call('HDEL', key, 't' .. user, 'r' .. user)
      redis.call('HSET', key, 'p' .. user, now + ARGV[2])
      redis.call('PEXPIRE', key, 60000)
    end
  end
  if nextAt then redis.call('ZADD', KEYS[1], nextAt, roomId) else redis.call('ZREM', KEYS[1], roomId) end
end
return taken`);

const KEY_PARTS = roomSignsKey("|").split("|");

const flag = z.enum(["0", "1", ""]).transform((text) => (text === "" ? null : text === "1"));
const readUpTo = z.string().transform((text) => (text === "" ? null : Number(text)));
const reply = z.array(z.tuple([z.string(), z.string(), flag, readUpTo]));

/**
 * Takes the signs that may go to Matrix now, of some rooms. They are gone from Redis: what fails afterwards is lost.
 * @throws what Redis throws
 */
export async function takeSigns(redis: Redis): Promise<Sign[]> {
  const args = [ROOMS_AT_ONCE, PAUSE_MS, ...KEY_PARTS];
  const [taken] = await runScripts(redis, [{ script: TAKE, keys: [SIGNS_DUE_KEY], args }]);
  return reply.parse(taken).map(([roomId, userId, isTyping, number]) => ({
    ...{ roomId, userId },
    ...{ isTyping, number },
  }));
}
