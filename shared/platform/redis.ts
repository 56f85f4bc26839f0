import { Redis, type RedisOptions } from "ioredis";
import type { Log } from "./log.ts";

export type { Redis } from "ioredis";

/** A refused Redis: the message says what to change. */
class RedisPolicyError extends Error {}

const COMMAND_TIMEOUT_MS = 1_000;
/**
 * A connection that was asked something and brings nothing for this long is replaced: one that has died unseen would
 * fail every command for hours.
 */
const SILENT_LIMIT_MS = 3_000;
/** Longer than BullMQ lets a worker's connection wait for a job. */
const PATIENT_SILENT_LIMIT_MS = 15_000;

/**
 * ioredis does not forget the time limit of a connection that closed meanwhile: it would break the healthy one that
 * follows. BullMQ duplicates what it is given, so duplicates are of this class too.
 */
class WatchedRedis extends Redis {
  constructor(...args: [string, RedisOptions] | [RedisOptions]) {
    super(...(args as [string, RedisOptions]));
    this.on("close", () => {
      const watched = this as unknown as { socketTimeoutTimer: NodeJS.Timeout | undefined };
      clearTimeout(watched.socketTimeoutTimer);
      watched.socketTimeoutTimer = undefined;
    });
  }

  override duplicate(override?: Partial<RedisOptions>): WatchedRedis {
    return new WatchedRedis({ ...this.options, ...override });
  }
}

/**
 * A connection for commands that must answer or fail within about a second: nothing waits for Redis to come back.
 * Reconnects for ever in the background.
 */
export function openRedis(url: string, log: Log, name: string): Redis {
  return withErrorLog(
    new WatchedRedis(url, {
      connectionName: `omc-${name}`,
      enableOfflineQueue: false,
      maxRetriesPerRequest: 1,
      commandTimeout: COMMAND_TIMEOUT_MS,
      connectTimeout: COMMAND_TIMEOUT_MS,
      socketTimeout: SILENT_LIMIT_MS,
      retryStrategy,
    }),
    log,
    name,
  );
}

/** A connection whose commands wait for Redis: for BullMQ workers and subscribers, which repeat themselves. */
export function openPatientRedis(url: string, log: Log, name: string): Redis {
  return withErrorLog(
    new WatchedRedis(url, {
      connectionName: `omc-${name}`,
      maxRetriesPerRequest: null,
      connectTimeout: 5_000,
      socketTimeout: PATIENT_SILENT_LIMIT_MS,
      retryStrategy,
    }),
    log,
    name,
  );
}

/** A connection that only listens: it forgets its channels when it is lost, and its owner subscribes them again. */
export function openSubscriberRedis(url: string, log: Log, name: string): Redis {
  return withErrorLog(
    new WatchedRedis(url, {
      connectionName: `omc-${name}`,
      autoResubscribe: false,
      autoResendUnfulfilledCommands: false,
      enableOfflineQueue: false,
      maxRetriesPerRequest: 1,
      connectTimeout: COMMAND_TIMEOUT_MS,
      retryStrategy,
    }),
    log,
    name,
  );
}

/** Closes without waiting for an answer that may never come. */
export function closeRedis(redis: Redis): void {
  redis.disconnect();
}

/**
 * @throws RedisPolicyError when Redis may evict keys: it would drop jobs silently. A Redis that does not answer is
 * not refused: it is checked again by the next start.
 */
export async function requireNoEviction(redis: Redis): Promise<void> {
  const answer: unknown = await redis.config("GET", "maxmemory-policy").catch(() => null);
  const policy: unknown = Array.isArray(answer) ? answer[1] : null;
  if (typeof policy === "string" && policy !== "noeviction") {
    throw new RedisPolicyError(
      `Redis has maxmemory-policy ${policy}, which throws queued work away. Set it to noeviction and start again.`,
    );
  }
}

/** Resolves when the connection can take commands, or after `limitMs` whatever its state. */
export async function waitForRedis(redis: Redis, limitMs: number): Promise<void> {
  if (redis.status === "ready") return;
  await new Promise<void>((resolve) => {
    const timer = setTimeout(done, limitMs);
    function done(): void {
      clearTimeout(timer);
      redis.off("ready", done);
      resolve();
    }
    redis.once("ready", done);
  });
}

function retryStrategy(times: number): number {
  return Math.min(50 * 2 ** Math.min(times, 6), 1_000);
}

function withErrorLog(redis: Redis, log: Log, name: string): Redis {
  let isDown = false;
  redis.on("error", (error: Error) => {
    if (!isDown) log.warn({ err: error, redis: name }, "redis is not answering");
    isDown = true;
  });
  redis.on("ready", () => {
    if (isDown) log.info({ redis: name }, "redis answers again");
    isDown = false;
  });
  return redis;
}
