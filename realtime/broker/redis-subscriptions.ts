import { AppError } from "../../shared/contract/errors.ts";
import { withTimeout } from "../../shared/platform/concurrency/with-timeout.ts";
import type { Redis } from "../../shared/platform/redis.ts";

const BATCH_CHANNELS = 512;

/** `onMessage` receives what is published on the channels. `onRestored`: see `RedisSubscriptions`. */
export type RedisSubscriptionsHandlers = {
  onMessage: (channel: string, text: string) => void;
  onRestored: () => void;
};

/**
 * - `away`: there is no connection. What is published meanwhile is lost.
 * - `restoring`: there is one, and every channel is being subscribed on it.
 * - `ready`: every channel was subscribed on this connection. Further ones follow one by one.
 */
type ConnectionMode = "away" | "restoring" | "ready";

/**
 * A channel that is listened to. `confirmed` resolves when Redis has subscribed it for the first time: on later connections
 * the mode `ready` says it of all channels.
 */
type Channel = { confirmed: Promise<void>; confirm: () => void };

/**
 * The live channels that this process listens to, over one connection.
 *
 *     away ──connected──▶ restoring ──all channels confirmed──▶ ready          (then `onRestored` is called)
 *     restoring, ready ──the connection is lost──▶ away
 *
 *     a channel: listen ──at the end of the turn of the event loop──▶ asked ──▶ confirmed ──drop──▶ gone
 *
 * - The changes of one turn of the event loop are sent together, drops before new channels.
 * - A channel that is dropped and listened to again is another channel: it waits for a confirmation of its own.
 * - A connection whose channels were not all confirmed is not `ready`. Its loss, or its silence, brings the next one.
 */
export class RedisSubscriptions {
  readonly #redis: Redis;
  readonly #channels = new Map<string, Channel>();
  /** Names of channels to subscribe and to unsubscribe at the end of this turn. */
  readonly #unasked = new Set<string>();
  readonly #dropped = new Set<string>();
  #mode: ConnectionMode = "away";
  /** How many connections there have been. What an earlier one confirmed says nothing of this one. */
  #connections = 0;
  #isFlushing = false;
  #lastMessageAtMs = Date.now();
  #handlers: RedisSubscriptionsHandlers | null = null;

  /** `redis`: a connection that nothing else uses. */
  constructor(redis: Redis) {
    this.#redis = redis;
  }

  /** Begins to receive. Call it once. */
  start(handlers: RedisSubscriptionsHandlers): void {
    if (this.#handlers) throw new Error("live delivery was started already");
    this.#handlers = handlers;
    const redis = this.#redis;
    redis.on("message", (channel: string, text: string) => {
      this.#lastMessageAtMs = Date.now();
      handlers.onMessage(channel, text);
    });
    redis.on("ready", () => {
      this.#restore();
    });
    redis.on("close", () => {
      this.#lose();
    });
    if (redis.status === "ready") this.#restore();
  }

  /** Whether there is a connection with every channel subscribed on it. */
  get isReady(): boolean {
    return this.#mode === "ready";
  }

  listen(channel: string): void {
    if (this.#channels.has(channel)) return;
    this.#dropped.delete(channel);
    this.#channels.set(channel, createChannel());
    this.#unasked.add(channel);
    this.#flushSoon();
  }

  drop(channel: string): void {
    if (!this.#channels.delete(channel)) return;
    this.#unasked.delete(channel);
    this.#dropped.add(channel);
    this.#flushSoon();
  }

  /**
   * Resolves when Redis has confirmed all of the channels.
   * @throws AppError `unavailable` after `limitMs`, or at once while Redis is away.
   */
  async confirmed(channels: readonly string[], limitMs: number): Promise<void> {
    if (!this.isReady) throw new AppError("unavailable", "Live delivery is not available.");
    const all = Promise.all(channels.flatMap((name) => this.#channels.get(name)?.confirmed ?? []));
    await withTimeout(all, limitMs, () => {
      throw new AppError("unavailable", "Live delivery is late.");
    });
  }

  /** Replaces a connection that has received nothing for `maxSilenceMs`. */
  restartIfSilent(nowMs: number, maxSilenceMs: number): void {
    if (nowMs - this.#lastMessageAtMs <= maxSilenceMs || !isConnected(this.#redis)) return;
    this.#lastMessageAtMs = nowMs;
    this.#redis.disconnect(true);
  }

  #flushSoon(): void {
    if (this.#isFlushing) return;
    this.#isFlushing = true;
    setImmediate(() => {
      this.#isFlushing = false;
      if (this.#redis.status === "ready") this.#flush();
    });
  }

  #flush(): void {
    const dropped = [...this.#dropped];
    this.#dropped.clear();
    for (const batch of inBatches(dropped)) this.#redis.unsubscribe(...batch).catch(() => undefined);
    const unasked = [...this.#unasked];
    this.#unasked.clear();
    void this.#subscribe(unasked);
  }

  /** Returns whether Redis has confirmed all. A failure is one of the connection: the next one subscribes again. */
  async #subscribe(names: readonly string[]): Promise<boolean> {
    const answers = inBatches(names).map(async (batch) => {
      const channels = batch.map((name) => this.#channels.get(name));
      await this.#redis.subscribe(...batch);
      for (const channel of channels) channel?.confirm();
    });
    const outcomes = await Promise.allSettled(answers);
    return outcomes.every(({ status }) => status === "fulfilled");
  }

  #lose(): void {
    this.#mode = "away";
    // A connection begins without subscriptions.
    this.#dropped.clear();
  }

  #restore(): void {
    this.#mode = "restoring";
    const connection = ++this.#connections;
    this.#lastMessageAtMs = Date.now();
    this.#unasked.clear();
    void this.#subscribe([...this.#channels.keys()]).then((isComplete) => {
      if (!isComplete || connection !== this.#connections || this.#mode !== "restoring") return;
      this.#mode = "ready";
      this.#handlers?.onRestored();
    });
  }
}

/** Whether there is a connection, ready or in its handshake. */
export function isConnected(redis: Redis): boolean {
  return redis.status === "ready" || redis.status === "connect";
}

function createChannel(): Channel {
  let confirm: () => void = () => undefined;
  const confirmed = new Promise<void>((resolve) => {
    confirm = resolve;
  });
  return { confirmed, confirm };
}

function inBatches<T>(items: readonly T[]): T[][] {
  const batches: T[][] = [];
  for (let start = 0; start < items.length; start += BATCH_CHANNELS)
    batches.push(items.slice(start, start + BATCH_CHANNELS));
  return batches;
}
