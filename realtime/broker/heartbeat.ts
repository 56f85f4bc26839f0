import { newFence } from "../../shared/platform/ids.ts";
import { MARKER_KEY, heartbeatChannel } from "../../shared/platform/redis-keys.ts";
import type { Redis } from "../../shared/platform/redis.ts";
import type { RealtimeMetrics } from "../metrics.ts";
import { isConnected, type RedisSubscriptions } from "./redis-subscriptions.ts";

export type HeartbeatOptions = { everyMs: number; maxSilenceMs: number; onForgotten: () => void };

/**
 * Publishes to itself, so that connections which look healthy and bring nothing are noticed and replaced; and looks at
 * the marker in Redis, whose change says that Redis has lost what it held.
 */
export class Heartbeat {
  readonly channel = heartbeatChannel(newFence());
  readonly #redis: Redis;
  readonly #live: RedisSubscriptions;
  readonly #options: HeartbeatOptions;
  readonly #timer: NodeJS.Timeout;
  #marker: string | null = null;
  #answeredAtMs = Date.now();

  constructor(redis: Redis, live: RedisSubscriptions, options: HeartbeatOptions) {
    this.#redis = redis;
    this.#live = live;
    this.#options = options;
    live.listen(this.channel);
    this.#timer = setInterval(() => void this.#run(), options.everyMs);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** Takes its own sign of life. */
  receive(text: string, metrics: RealtimeMetrics): void {
    metrics.liveLag(Math.max(0, Date.now() - Number(text)) / 1_000);
  }

  async #run(): Promise<void> {
    const nowMs = Date.now();
    const { maxSilenceMs, onForgotten } = this.#options;
    this.#live.restartIfSilent(nowMs, maxSilenceMs);
    if (nowMs - this.#answeredAtMs > maxSilenceMs && isConnected(this.#redis)) {
      this.#answeredAtMs = nowMs;
      this.#redis.disconnect(true);
    }
    try {
      await this.#redis.publish(this.channel, String(nowMs));
      await this.#redis.set(MARKER_KEY, newFence(), "NX");
      const marker = await this.#redis.get(MARKER_KEY);
      this.#answeredAtMs = Date.now();
      if (this.#marker !== null && marker !== this.#marker) onForgotten();
      this.#marker = marker;
    } catch {
      // Redis is away: its return has everything checked.
    }
  }
}
