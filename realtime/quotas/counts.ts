import { z } from "zod";
import { createScript, type ScriptCall } from "../../shared/platform/redis-script.ts";

/** How long a count of a process that has ended still counts, in milliseconds. It is renewed three times as often. */
export const LEASE_MS = 45_000;

/**
 * KEYS counts by process; ARGV process, its sockets, how many more it asks for, the limit of all processes, lease in ms.
 * Returns how many more it may have, and the sockets of the other processes.
 */
const COUNT_SCRIPT = createScript(`
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local others = 0
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  if all[i] ~= ARGV[1] then
    local count, lease = string.match(all[i + 1], '^(%d+) (%d+)$')
    if tonumber(lease) < now then redis.call('HDEL', KEYS[1], all[i])
    else others = others + tonumber(count) end
  end
end
local own = tonumber(ARGV[2])
local granted = math.max(0, math.min(tonumber(ARGV[3]), tonumber(ARGV[4]) - others - own))
if own + granted == 0 then redis.call('HDEL', KEYS[1], ARGV[1])
else
  redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f %.0f', own + granted, now + ARGV[5]))
  redis.call('PEXPIRE', KEYS[1], ARGV[5])
end
return {granted, others}`);

export type Count = {
  key: string;
  process: string;
  own: number;
  asked: number;
  limit: number;
  leaseMs: number;
};

export function countCall({ key, process, own, asked, limit, leaseMs }: Count): ScriptCall {
  return { script: COUNT_SCRIPT, keys: [key], args: [process, own, asked, limit, leaseMs] };
}

/** How many more sockets the process may have, and how many the other processes have. */
export function readCount(reply: unknown): { granted: number; others: number } {
  const [granted, others] = countReply.parse(reply);
  return { granted, others };
}
const countReply = z.tuple([z.int(), z.int()]);

/**
 * KEYS sockets of a user; ARGV limit, lease in ms, connections to add or renew, in the order in which they began. Removes
 * the oldest ones over the limit, and returns them.
 */
const USER_SCRIPT = createScript(`
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local began = {}
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local at, lease = string.match(all[i + 1], '^(%d+) (%d+)$')
  if tonumber(lease) < now then redis.call('HDEL', KEYS[1], all[i])
  else began[all[i]] = tonumber(at) end
end
for i = 3, #ARGV do
  local at = began[ARGV[i]] or (time[1] * 1000000 + time[2] + i)
  began[ARGV[i]] = at
  redis.call('HSET', KEYS[1], ARGV[i], string.format('%.0f %.0f', at, now + ARGV[2]))
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
local ids = {}
for id in pairs(began) do ids[#ids + 1] = id end
table.sort(ids, function(a, b) return began[a] < began[b] or (began[a] == began[b] and a < b) end)
local over = {}
for i = 1, #ids - tonumber(ARGV[1]) do
  redis.call('HDEL', KEYS[1], ids[i])
  over[i] = ids[i]
end
return over`);

export function userCall(
  key: string,
  connections: readonly string[],
  { limit, leaseMs }: { limit: number; leaseMs: number },
): ScriptCall {
  return { script: USER_SCRIPT, keys: [key], args: [limit, leaseMs, ...connections] };
}

/** The connections that are over the limit. */
export function readOver(reply: unknown): string[] {
  return z.array(z.string()).parse(reply);
}

/** KEYS sockets of a user; ARGV connections that have ended. */
const REMOVE_SCRIPT = createScript(`return redis.call('HDEL', KEYS[1], unpack(ARGV))`);

export function removeCall(key: string, connections: readonly string[]): ScriptCall {
  return { script: REMOVE_SCRIPT, keys: [key], args: connections };
}
