import { newFence } from "../../shared/platform/ids.ts";
import { MARKER_KEY, probeChannel } from "../../shared/platform/redis-keys.ts";
import type { Redis } from "../../shared/platform/redis.ts";
import type { Figures } from "../metrics.ts";
import { isStanding, type RedisLive } from "./redis-subscriptions.ts";

export type ProbeOptions = { everyMs: number; maxSilenceMs: number; onForgotten: () => void };

/**
 * Publishes to itself, so that connections which look healthy and bring nothing are noticed and replaced; and looks at
 * the marker in Redis, whose change says that Redis has lost what it held.
 */
export class Probe {
  readonly channel = probeChannel(newFence());
  readonly #redis: Redis;
  readonly #live: RedisLive;
  readonly #options: ProbeOptions;
  readonly #timer: NodeJS.Timeout;
  #marker: string | null = null;
  #answeredAtMs = Date.now();

  constructor(redis: Redis, live: RedisLive, options: ProbeOptions) {
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
  receive(text: string, figures: Figures): void {
    figures.liveLag(Math.max(0, Date.now() - Number(text)) / 1_000);
  }

  async #run(): Promise<void> {
    const nowMs = Date.now();
    const { maxSilenceMs, onForgotten } = this.#options;
    this.#live.restartIfSilent(nowMs, maxSilenceMs);
    if (nowMs - this.#answeredAtMs > maxSilenceMs && isStanding(this.#redis)) {
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
