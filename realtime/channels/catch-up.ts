import { errorText } from "../../shared/contract/errors.ts";
import type { Log } from "../../shared/platform/log.ts";
import type { Connection } from "../session/connection.ts";
import type { Hub } from "./hub.ts";
import type { RealtimeMetrics } from "../metrics.ts";
import type { Streams } from "./streams.ts";
import { logDelivery } from "./delivery-log.ts";
import type { Entry, StreamTop, Topic } from "./topic.ts";

const ENTRIES_AT_ONCE = 300;

/** Fills the holes between what was delivered and what there is. */
export class CatchUp {
  readonly #hub: Hub<Connection>;
  readonly #streams: Streams;
  readonly #metrics: RealtimeMetrics;
  readonly #log: Log;

  constructor(deps: { hub: Hub<Connection>; streams: Streams; metrics: RealtimeMetrics; log: Log }) {
    this.#hub = deps.hub;
    this.#streams = deps.streams;
    this.#metrics = deps.metrics;
    this.#log = deps.log;
  }

  /**
   * Delivers everything up to `number`, in order; or, when that cannot be had, tells all subscribers so. One at a time
   * per topic. @throws what Redis or Postgres throws, the topic staying where it is.
   */
  run(topic: Topic, number: number): Promise<void> {
    topic.seen = Math.max(topic.seen, number);
    topic.catching ??= this.#fill(topic).finally(() => {
      topic.catching = null;
    });
    return topic.catching;
  }

  /** As `run`, for callers with nobody to tell of a failure: the next publication or position check tries again. */
  start(topic: Topic, number: number): void {
    this.run(topic, number).catch((error: unknown) => {
      this.#log.warn({ reason: errorText(error) }, "catching up failed");
    });
  }

  async #fill(topic: Topic): Promise<void> {
    while (this.#hub.has(topic) && topic.epoch !== null && topic.position < topic.seen) {
      const { epoch, position } = topic;
      let entries = await this.#next(topic, epoch);
      if (!continues(entries, position)) {
        const top = await this.#top(topic);
        if (top?.epoch === epoch && top.number > position) {
          await this.#streams.repair({ ref: topic.ref, epoch, after: position });
          entries = await this.#next(topic, epoch);
        }
        if (topic.epoch !== epoch) continue;
        if (!continues(entries, position)) {
          this.#giveUp(topic, top);
          return;
        }
      }
      if (topic.epoch !== epoch) continue;
      for (const entry of entries) {
        if (entry.number === topic.position + 1)
          logDelivery({ metrics: this.#metrics, log: this.#log }, topic, entry, topic.deliver(entry));
      }
    }
  }

  async #next(topic: Topic, epoch: string): Promise<Entry[]> {
    const request = { ref: topic.ref, epoch, after: topic.position, limit: ENTRIES_AT_ONCE };
    const [entries = []] = await this.#streams.read([request]);
    return entries;
  }

  async #top(topic: Topic): Promise<StreamTop | null> {
    const tops = await this.#streams.tops([topic.ref]);
    return tops.get(topic.liveChannel) ?? null;
  }

  #giveUp(topic: Topic, top: StreamTop | null): void {
    if (top?.epoch === topic.epoch && top.number <= topic.position) {
      // What was heard of is not there: nothing is missing.
      topic.seen = topic.position;
      return;
    }
    this.#metrics.insufficient(topic.subscribers.size);
    this.#hub.invalidate(topic, top);
  }
}

function continues(entries: readonly Entry[], position: number): boolean {
  return entries[0]?.number === position + 1;
}
