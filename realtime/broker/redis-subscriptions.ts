import { AppError } from "../../shared/contract/errors.ts";
import type { Redis } from "../../shared/platform/redis.ts";

const BATCH_CHANNELS = 512;

type Wanted = { isSent: boolean; confirmed: Promise<void>; confirm: () => void };

/**
 * The live channels that this process listens to, over one connection. Changes of one turn of the event loop go out
 * together; after a lost connection everything is subscribed again before `onRestored` is called.
 */
export class RedisSubscriptions {
  readonly #redis: Redis;
  readonly #wanted = new Map<string, Wanted>();
  readonly #dropped = new Set<string>();
  #isFlushing = false;
  #isReady = false;
  #lastHeardAtMs = Date.now();
  onRestored: () => void = () => undefined;

  constructor(redis: Redis, onMessage: (channel: string, text: string) => void) {
    this.#redis = redis;
    redis.on("message", (channel: string, text: string) => {
      this.#lastHeardAtMs = Date.now();
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

  /** Whether the connection stands and everything wanted was subscribed on it. */
  get isReady(): boolean {
    return this.#isReady;
  }

  listen(channel: string): void {
    if (this.#wanted.has(channel)) return;
    this.#dropped.delete(channel);
    this.#wanted.set(channel, createWanted());
    this.#flushSoon();
  }

  drop(channel: string): void {
    if (!this.#wanted.delete(channel)) return;
    this.#dropped.add(channel);
    this.#flushSoon();
  }

  /**
   * Resolves when Redis has confirmed all of the channels.
   * @throws AppError `unavailable` after `limitMs`, or at once while Redis is away.
   */
  async confirmed(channels: readonly string[], limitMs: number): Promise<void> {
    if (!this.#isReady) throw new AppError("unavailable", "Live delivery is not available.");
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => {
        reject(new AppError("unavailable", "Live delivery is late."));
      }, limitMs);
    });
    const all = Promise.all(channels.flatMap((channel) => this.#wanted.get(channel)?.confirmed ?? []));
    try {
      await Promise.race([all, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Gives up a connection that stands but brought nothing for `maxSilenceMs`, for a new one. */
  restartIfSilent(nowMs: number, maxSilenceMs: number): void {
    if (nowMs - this.#lastHeardAtMs <= maxSilenceMs || !isConnected(this.#redis)) return;
    this.#lastHeardAtMs = nowMs;
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
    const fresh = [...this.#wanted].filter(([, wanted]) => !wanted.isSent);
    void this.#subscribe(fresh);
  }

  async #subscribe(fresh: readonly (readonly [string, Wanted])[]): Promise<boolean> {
    for (const [, wanted] of fresh) wanted.isSent = true;
    const answers = inBatches(fresh).map(async (batch) => {
      await this.#redis.subscribe(...batch.map(([channel]) => channel));
      for (const [, wanted] of batch) wanted.confirm();
    });
    const outcomes = await Promise.allSettled(answers);
    // What failed, failed with the connection: the next one subscribes it again.
    return outcomes.every(({ status }) => status === "fulfilled");
  }

  #lose(): void {
    this.#isReady = false;
    this.#dropped.clear();
    for (const [channel, wanted] of this.#wanted) {
      // Who waits for the old confirmation goes on waiting for the new one.
      this.#wanted.set(channel, { ...wanted, isSent: false });
    }
  }

  #resubscribe(): void {
    this.#lastHeardAtMs = Date.now();
    void this.#subscribe([...this.#wanted]).then((isComplete) => {
      if (!isComplete || this.#redis.status !== "ready") return;
      this.#isReady = true;
      this.onRestored();
    });
  }
}

/** Whether there is a connection, used already or still greeting. */
export function isConnected(redis: Redis): boolean {
  return redis.status === "ready" || redis.status === "connect";
}

function createWanted(): Wanted {
  let confirm: () => void = () => undefined;
  const confirmed = new Promise<void>((resolve) => {
    confirm = resolve;
  });
  return { isSent: false, confirmed, confirm };
}

function inBatches<T>(items: readonly T[]): T[][] {
  const batches: T[][] = [];
  for (let start = 0; start < items.length; start += BATCH_CHANNELS)
    batches.push(items.slice(start, start + BATCH_CHANNELS));
  return batches;
}
