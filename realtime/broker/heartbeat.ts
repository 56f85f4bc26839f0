import { every, type Repeating } from "../../shared/platform/concurrency/every.ts";
import { newFence } from "../../shared/platform/ids.ts";
import { MARKER_KEY, heartbeatChannel } from "../../shared/platform/redis-keys.ts";
import type { Redis } from "../../shared/platform/redis.ts";
import type { RealtimeMetrics } from "../metrics.ts";
import { isConnected, type RedisSubscriptions } from "./redis-subscriptions.ts";

export type HeartbeatOptions = {
  everyMs: number;
  maxSilenceMs: number;
  /** Called when Redis has lost its data. */
  onDataLost: () => void;
};

/**
 * Publishes to a channel of its own and receives that again. It replaces connections that look healthy and transport
 * nothing. It also reads the marker in Redis, which changes when Redis has lost its data.
 */
export class Heartbeat {
  readonly channel = heartbeatChannel(newFence());
  readonly #redis: Redis;
  readonly #live: RedisSubscriptions;
  readonly #options: HeartbeatOptions;
  readonly #repeating: Repeating;
  #marker: string | null = null;
  #answeredAtMs = Date.now();

  constructor(redis: Redis, live: RedisSubscriptions, options: HeartbeatOptions) {
    this.#redis = redis;
    this.#live = live;
    this.#options = options;
    live.listen(this.channel);
    // A beat that Redis does not answer must not hold up the next one, which replaces the connection.
    const beat = () => void this.#beat(Date.now());
    this.#repeating = every(options.everyMs, beat, () => undefined);
  }

  stop(): void {
    void this.#repeating.stop();
  }

  /** Receives its own heartbeat. */
  receive(text: string, metrics: RealtimeMetrics): void {
    metrics.liveLag(Math.max(0, Date.now() - Number(text)) / 1_000);
  }

  async #beat(nowMs: number): Promise<void> {
    this.#replaceSilent(nowMs);
    try {
      await this.#redis.publish(this.channel, String(nowMs));
      await this.#redis.set(MARKER_KEY, newFence(), "NX");
      const marker = await this.#redis.get(MARKER_KEY);
      this.#answeredAtMs = Date.now();
      if (this.#marker !== null && marker !== this.#marker) this.#options.onDataLost();
      this.#marker = marker;
    } catch {
      // Redis is away. Its return starts a full anti-entropy check.
    }
  }

  #replaceSilent(nowMs: number): void {
    const { maxSilenceMs } = this.#options;
    this.#live.restartIfSilent(nowMs, maxSilenceMs);
    if (nowMs - this.#answeredAtMs <= maxSilenceMs || !isConnected(this.#redis)) return;
    this.#answeredAtMs = nowMs;
    this.#redis.disconnect(true);
  }
}
