import { errorText } from "../../shared/contract/errors.ts";
import type { Log } from "../../shared/platform/log.ts";
import type { Connection } from "../session/connection.ts";
import type { Hub } from "./hub.ts";
import type { RealtimeMetrics } from "../metrics.ts";
import type { Streams } from "./streams.ts";
import { logDelivery } from "./delivery-log.ts";
import type { Entry, StreamTop } from "./topic-ref.ts";
import type { Topic } from "./topic.ts";

const MAX_ENTRIES = 300;

/** Fills the gaps of topics from their streams. */
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
   * Delivers everything up to `number`, in order. When an entry does not exist any more, it ends all subscriptions of the
   * topic. One run at a time per topic. @throws the error of Redis or Postgres; the topic keeps its position.
   */
  run(topic: Topic, number: number): Promise<void> {
    topic.seen = Math.max(topic.seen, number);
    topic.catching ??= this.#fill(topic).finally(() => {
      topic.catching = null;
    });
    return topic.catching;
  }

  /** Like `run`, without waiting. After a failure the next publication or anti-entropy check tries again. */
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
          this.#end(topic, top);
          return;
        }
      }
      if (topic.epoch !== epoch) continue;
      this.#deliver(topic, entries);
    }
  }

  #deliver(topic: Topic, entries: readonly Entry[]): void {
    for (const entry of entries) {
      if (entry.number === topic.position + 1)
        logDelivery({ metrics: this.#metrics, log: this.#log }, topic, entry, topic.deliver(entry));
    }
  }

  async #next(topic: Topic, epoch: string): Promise<Entry[]> {
    const request = { ref: topic.ref, epoch, after: topic.position, limit: MAX_ENTRIES };
    const [entries = []] = await this.#streams.read([request]);
    return entries;
  }

  async #top(topic: Topic): Promise<StreamTop | null> {
    const tops = await this.#streams.tops([topic.ref]);
    return tops.get(topic.liveChannel) ?? null;
  }

  /** Ends a run whose next entry does not exist. */
  #end(topic: Topic, top: StreamTop | null): void {
    if (top?.epoch === topic.epoch && top.number <= topic.position) {
      // The announced entry does not exist: nothing is missing.
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
