import type { Publication } from "../contract/frames.ts";
import type { UserLiveMessage } from "./live-messages.ts";
import { newFence } from "../platform/ids.ts";
import { userEpochKey, userLiveChannel, userStreamKey } from "../platform/redis-keys.ts";
import type { Redis } from "../platform/redis.ts";

/** Hints a user's stream keeps, and for how long; their truth is `GET /v1/me/rooms`. */
const STREAM_ENTRIES = 100;
const STREAM_TTL_S = 86_400;

/** Where a user's stream stands: a client with the same epoch and a smaller offset has missed something. */
export type StreamPosition = { epoch: string; offset: number };

// KEYS stream, epoch; ARGV a fresh epoch, channel, length, ttl, data (empty: only tell the position).
const HINT_SCRIPT = `
local epoch = redis.call('GET', KEYS[2])
if not epoch then
  epoch = ARGV[1]
  redis.call('DEL', KEYS[1])
  redis.call('SET', KEYS[2], epoch)
end
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
local top = 0
if #last > 0 then top = tonumber(string.match(last[1][1], '^(%d+)')) end
if ARGV[5] ~= '' then
  top = top + 1
  redis.call('XADD', KEYS[1], 'MAXLEN', ARGV[3], top .. '-0', 'm', ARGV[5])
  redis.call('PUBLISH', ARGV[2], cjson.encode({kind = 'hint', offset = top, epoch = epoch, data = ARGV[5]}))
end
redis.call('EXPIRE', KEYS[1], ARGV[4])
redis.call('EXPIRE', KEYS[2], ARGV[4])
return {epoch, top}`;

/** Adds a hint to a user's stream and tells it to the user's connections. */
export function publishUserEvent(redis: Redis, userId: string, hint: Publication): Promise<StreamPosition> {
  return runHintScript(redis, userId, JSON.stringify(hint));
}

/** Where a user's stream stands; a stream that nobody ever wrote to begins with a random epoch. */
export function readUserPosition(redis: Redis, userId: string): Promise<StreamPosition> {
  return runHintScript(redis, userId, "");
}

async function runHintScript(redis: Redis, userId: string, data: string): Promise<StreamPosition> {
  const answer = (await redis.eval(
    HINT_SCRIPT,
    2,
    userStreamKey(userId),
    userEpochKey(userId),
    newFence(),
    userLiveChannel(userId),
    STREAM_ENTRIES,
    STREAM_TTL_S,
    data,
  )) as [string, number];
  return { epoch: answer[0], offset: answer[1] };
}

/** Tells the nodes that hold a user's connections what to do with them. */
export async function sendControlMessage(
  redis: Redis,
  userId: string,
  order: Exclude<UserLiveMessage, { kind: "hint" }>,
): Promise<void> {
  await redis.publish(userLiveChannel(userId), JSON.stringify(order));
}
