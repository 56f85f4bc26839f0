import type { Publication } from "../contract/frames.ts";
import type { ControlMessage } from "./live-messages.ts";
import { newFence } from "../platform/ids.ts";
import { userEpochKey, userLiveChannel, userStreamKey } from "../platform/redis-keys.ts";
import { createScript, runScripts, type ScriptCall } from "../platform/redis-script.ts";
import type { Redis } from "../platform/redis.ts";

/** User events that a user's stream keeps, and for how long. The truth is `GET /v1/me/rooms`. */
const STREAM_ENTRIES = 100;
const STREAM_TTL_S = 86_400;

/** Where a user's stream stands: a client with the same epoch and a smaller offset has missed something. */
export type StreamPosition = { epoch: string; offset: number };

// KEYS stream, epoch; ARGV a new epoch, channel, length, ttl, data (empty: only read the position).
const USER_EVENT_SCRIPT = createScript(`
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
return {epoch, top}`);

/** Adds an event to a user's stream and publishes it to the user's connections. */
export function publishUserEvent(redis: Redis, userId: string, event: Publication): Promise<StreamPosition> {
  return runUserEventScript(redis, userId, JSON.stringify(event));
}

/** The same for several users, in one round trip. */
export async function publishUserEvents(
  redis: Redis,
  events: readonly { userId: string; event: Publication }[],
): Promise<void> {
  await runScripts(
    redis,
    events.map(({ userId, event }) => userEventCall(userId, JSON.stringify(event))),
  );
}

/** Where the streams of users stand, in one round trip. A stream without an event yet begins with a random epoch. */
export async function readUserPositions(
  redis: Redis,
  userIds: readonly string[],
): Promise<Map<string, StreamPosition>> {
  const replies = await runScripts(
    redis,
    userIds.map((userId) => userEventCall(userId, "")),
  );
  return new Map(userIds.map((userId, index) => [userId, readPosition(replies[index])]));
}

async function runUserEventScript(redis: Redis, userId: string, data: string): Promise<StreamPosition> {
  const [reply] = await runScripts(redis, [userEventCall(userId, data)]);
  return readPosition(reply);
}

function userEventCall(userId: string, data: string): ScriptCall {
  return {
    script: USER_EVENT_SCRIPT,
    keys: [userStreamKey(userId), userEpochKey(userId)],
    args: [newFence(), userLiveChannel(userId), STREAM_ENTRIES, STREAM_TTL_S, data],
  };
}

function readPosition(reply: unknown): StreamPosition {
  const [epoch, offset] = reply as [string, number];
  return { epoch, offset };
}

/** Publishes a control message to the processes that hold a user's connections. */
export async function sendControlMessage(
  redis: Redis,
  userId: string,
  message: ControlMessage,
): Promise<void> {
  await redis.publish(userLiveChannel(userId), JSON.stringify(message));
}
