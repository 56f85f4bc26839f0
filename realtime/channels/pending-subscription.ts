import type { StreamPosition } from "../protocol/frames.ts";
import type { Entry } from "./topic-ref.ts";
import type { PendingSubscriber, Topic } from "./topic.ts";

/** A subscription that is not made yet. While its missed entries are read, it holds the entries that are delivered. */
export class PendingSubscription implements PendingSubscriber {
  readonly topic: Topic;
  readonly userId: string;
  /** The client's position; null when the client does not recover. */
  readonly asked: StreamPosition | null;
  readonly held: Entry[] = [];
  isCancelled = false;
  readonly #maxHeld: number;

  constructor(topic: Topic, userId: string, asked: StreamPosition | null, maxHeld: number) {
    this.topic = topic;
    this.userId = userId;
    this.asked = asked;
    this.#maxHeld = maxHeld;
  }

  /** Beyond the limit it holds nothing: the recovery finds the gap. */
  hold(entry: Entry): void {
    if (this.asked && this.held.length < this.#maxHeld) this.held.push(entry);
  }
}
