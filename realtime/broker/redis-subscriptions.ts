import { AppError } from "../../shared/contract/errors.ts";
import { withTimeout } from "../../shared/platform/concurrency/with-timeout.ts";
import type { Redis } from "../../shared/platform/redis.ts";

const BATCH_CHANNELS = 512;

type Wanted = { confirmed: Promise<void>; confirm: () => void };

/**
 * The live channels that this process listens to, over one connection. The changes of one turn of the event loop are sent
 * together. After a lost connection it subscribes every channel again, then calls `onRestored`.
 */
export class RedisSubscriptions {
  readonly #redis: Redis;
  readonly #wanted = new Map<string, Wanted>();
  /** Of those, the ones that Redis was not asked for yet. */
  readonly #unsent = new Set<string>();
  readonly #dropped = new Set<string>();
  #isFlushing = false;
  #isReady = false;
  #lastMessageAtMs = Date.now();
  onRestored: () => void = () => undefined;

  constructor(redis: Redis, onMessage: (channel: string, text: string) => void) {
    this.#redis = redis;
    redis.on("message", (channel: string, text: string) => {
      this.#lastMessageAtMs = Date.now();
      onMessage(channel, text);
    });
    redis.on("ready", () => {
      this.#resubscribe();
    });
    redis.on("close", () => {
      this.#lose();
    });
    if (redis.status === "ready") this.#resubscribe();
  }

  /** Whether there is a connection with every channel subscribed on it. */
  get isReady(): boolean {
    return this.#isReady;
  }

  listen(channel: string): void {
    if (this.#wanted.has(channel)) return;
    this.#dropped.delete(channel);
    this.#wanted.set(channel, createWanted());
    this.#unsent.add(channel);
    this.#flushSoon();
  }

  drop(channel: string): void {
    if (!this.#wanted.delete(channel)) return;
    this.#unsent.delete(channel);
    this.#dropped.add(channel);
    this.#flushSoon();
  }

  /**
   * Resolves when Redis has confirmed all of the channels.
   * @throws AppError `unavailable` after `limitMs`, or at once while Redis is away.
   */
  async confirmed(channels: readonly string[], limitMs: number): Promise<void> {
    if (!this.#isReady) throw new AppError("unavailable", "Live delivery is not available.");
    const all = Promise.all(channels.flatMap((channel) => this.#wanted.get(channel)?.confirmed ?? []));
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
    const unsent = [...this.#unsent];
    this.#unsent.clear();
    void this.#subscribe(unsent);
  }

  async #subscribe(channels: readonly string[]): Promise<boolean> {
    const answers = inBatches(channels).map(async (batch) => {
      // A channel that is dropped and wanted again meanwhile waits for a confirmation of its own.
      const asked = batch.map((channel) => this.#wanted.get(channel));
      await this.#redis.subscribe(...batch);
      for (const wanted of asked) wanted?.confirm();
    });
    const outcomes = await Promise.allSettled(answers);
    // A failure is a failure of the connection: the next connection subscribes again.
    return outcomes.every(({ status }) => status === "fulfilled");
  }

  #lose(): void {
    this.#isReady = false;
    this.#dropped.clear();
  }

  #resubscribe(): void {
    this.#lastMessageAtMs = Date.now();
    this.#unsent.clear();
    void this.#subscribe([...this.#wanted.keys()]).then((isComplete) => {
      if (!isComplete || this.#redis.status !== "ready") return;
      this.#isReady = true;
      this.onRestored();
    });
  }
}

/** Whether there is a connection, ready or in its handshake. */
export function isConnected(redis: Redis): boolean {
  return redis.status === "ready" || redis.status === "connect";
}

function createWanted(): Wanted {
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
