import { Redis, type RedisOptions } from "ioredis";
import { withTimeout } from "./concurrency/with-timeout.ts";
import type { Log } from "./log.ts";

export type { Redis } from "ioredis";

/** A Redis with a setting that loses data. The message says what to change. */
class RedisPolicyError extends Error {}

const COMMAND_TIMEOUT_MS = 1_000;
/**
 * A connection that owes an answer and brings nothing for this long is replaced. A connection can be dead although it
 * looks open; without this limit every command on it would fail for hours.
 */
const SOCKET_TIMEOUT_MS = 3_000;
/** A connection to a Redis that has become a replica is replaced this often: its name may lead to the new primary now. */
const READ_ONLY_RECONNECT_MS = 5_000;
/** Longer than BullMQ blocks a worker's connection to wait for a job. */
const WORKER_SOCKET_TIMEOUT_MS = 15_000;

/**
 * ioredis keeps the socket timeout of a connection that closed while a command waited on it, and then destroys the
 * healthy connection that follows (redis/ioredis#2147, mended in 6.0.0). Its timer is private, so this class reads it
 * by a cast; test/shared/redis.test.ts fails once ioredis clears the timer itself: then remove this class. BullMQ
 * duplicates its connections, so duplicates are of this class too. Each connection decides for itself when it leaves a
 * replica.
 */
class WatchedRedis extends Redis {
  constructor(options: RedisOptions);
  constructor(url: string, options: RedisOptions);
  constructor(first: string | RedisOptions, options: RedisOptions = {}) {
    if (typeof first === "string") super(first, options);
    else super(first);
    this.options.reconnectOnError = createReconnectIfReadOnly();
    this.on("close", () => {
      const ioredis = this as unknown as { socketTimeoutTimer: NodeJS.Timeout | undefined };
      clearTimeout(ioredis.socketTimeoutTimer);
      ioredis.socketTimeoutTimer = undefined;
    });
  }

  override duplicate(override?: Partial<RedisOptions>): WatchedRedis {
    return new WatchedRedis({ ...this.options, ...override });
  }
}

/** After a failover, connections stay open to the former primary, which refuses writes for ever. */
function createReconnectIfReadOnly(): (error: Error) => boolean {
  let lastAtMs = -Infinity;
  return ({ message }) => {
    if (!message.startsWith("READONLY") || performance.now() - lastAtMs < READ_ONLY_RECONNECT_MS)
      return false;
    lastAtMs = performance.now();
    return true;
  };
}

/**
 * Opens a connection whose commands succeed or fail within about a second: none waits for Redis to come back. It
 * reconnects for ever in the background.
 */
export function openRedis(url: string, log: Log, name: string): Redis {
  return open(url, log, name, {
    enableOfflineQueue: false,
    maxRetriesPerRequest: 1,
    commandTimeout: COMMAND_TIMEOUT_MS,
    connectTimeout: COMMAND_TIMEOUT_MS,
    socketTimeout: SOCKET_TIMEOUT_MS,
  });
}

/** Opens a connection for BullMQ workers: its commands wait until Redis is back. */
export function openWorkerRedis(url: string, log: Log, name: string): Redis {
  return open(url, log, name, {
    maxRetriesPerRequest: null,
    connectTimeout: 5_000,
    socketTimeout: WORKER_SOCKET_TIMEOUT_MS,
  });
}

/** Opens a connection for subscriptions. It drops them when it is lost: its owner subscribes again on "ready". */
export function openSubscriberRedis(url: string, log: Log, name: string): Redis {
  return open(url, log, name, {
    autoResubscribe: false,
    autoResendUnfulfilledCommands: false,
    enableOfflineQueue: false,
    maxRetriesPerRequest: 1,
    connectTimeout: COMMAND_TIMEOUT_MS,
  });
}

function open(url: string, log: Log, name: string, options: RedisOptions): Redis {
  const redis = new WatchedRedis(url, { connectionName: `omc-${name}`, retryStrategy, ...options });
  logOutages(redis, log, name);
  return redis;
}

/** Closes a connection at once. Commands without an answer fail. */
export function closeRedis(redis: Redis): void {
  redis.disconnect();
}

/**
 * @throws RedisPolicyError when Redis may evict keys: it would lose jobs without a message. A Redis that does not answer
 * passes; the next start checks it again.
 */
export async function requireNoEviction(redis: Redis): Promise<void> {
  const answer: unknown = await redis.config("GET", "maxmemory-policy").catch(() => null);
  const policy: unknown = Array.isArray(answer) ? answer[1] : null;
  if (typeof policy === "string" && policy !== "noeviction") {
    throw new RedisPolicyError(
      `Redis has maxmemory-policy ${policy}, which loses queued jobs. Set it to noeviction and start again.`,
    );
  }
}

/** Resolves when the connection accepts commands, or after `limitMs` in any state. */
export async function waitForRedis(redis: Redis, limitMs: number): Promise<void> {
  if (redis.status === "ready") return;
  let onReady = () => {};
  const ready = new Promise<void>((resolve) => {
    onReady = resolve;
    redis.once("ready", onReady);
  });
  await withTimeout(ready, limitMs, () => undefined);
  redis.off("ready", onReady);
}

function retryStrategy(times: number): number {
  return Math.min(50 * 2 ** Math.min(times, 6), 1_000);
}

/** Writes one line when Redis stops answering, and one when it answers again. */
function logOutages(redis: Redis, log: Log, name: string): void {
  let isDown = false;
  redis.on("error", (error: Error) => {
    if (!isDown) log.warn({ err: error, redis: name }, "Redis does not answer");
    isDown = true;
  });
  redis.on("ready", () => {
    if (isDown) log.info({ redis: name }, "Redis answers again");
    isDown = false;
  });
}
