import { UNSUBSCRIBE, type Close, type Unsubscribe } from "../protocol/codes.ts";
import { createPublication, type Frame } from "../protocol/frames.ts";
import { DeferredEvents } from "./deferred-events.ts";
import { liveChannelOf, type Entry, type StreamTop, type TopicRef } from "./topic-ref.ts";

export interface Subscriber {
  readonly userId: string | null;
  send(frame: Frame): void;
  close(close: Close): void;
  /** Ends the subscription; the client receives `why` unless it is null. */
  detach(topic: Topic, why: Unsubscribe | null): void;
  isServerSide(topic: Topic): boolean;
}

export interface PendingSubscriber {
  readonly userId: string;
  isCancelled: boolean;
  hold(entry: Entry): void;
}

/**
 * One stream as this process follows it. Every subscriber has received everything up to `position` in `epoch`. `epoch` is
 * null until both were read from the source of truth.
 */
export class Topic {
  readonly ref: TopicRef;
  readonly liveChannel: string;
  readonly subscribers = new Set<Subscriber>();
  readonly pending = new Set<PendingSubscriber>();
  /** Connections that need the live channel without a subscription. */
  watchers = 0;
  epoch: string | null = null;
  position = 0;
  /** The position at which the topic was opened. Entries up to it, and their removals, were not seen here. */
  openedAt = 0;
  /** The highest number that was announced. */
  seen = 0;
  /** The catch-up that runs. */
  catching: Promise<void> | null = null;
  readonly #deferred = new DeferredEvents();

  constructor(ref: TopicRef) {
    this.ref = ref;
    this.liveChannel = liveChannelOf(ref);
  }

  get isIdle(): boolean {
    return this.subscribers.size === 0 && this.pending.size === 0 && this.watchers === 0;
  }

  open(top: StreamTop | null): void {
    this.epoch = top?.epoch ?? null;
    this.position = top?.number ?? 0;
    this.openedAt = this.position;
    this.#deferred.clear();
  }

  /** Whether rights that were read at `top` may be older than a removal that was not seen here. */
  isOpenedAfter(top: StreamTop): boolean {
    return this.ref.kind === "room" && (this.epoch !== top.epoch || top.number < this.openedAt);
  }

  /** Delivers the entry that follows `position`, but not to the user whom it removes. Returns the number of subscribers. */
  deliver(entry: Entry): number {
    if (entry.removedUserId) this.#remove(entry.removedUserId);
    this.position = entry.number;
    for (const pending of this.pending) pending.hold(entry);
    const delivered = this.#publish(entry.data, entry.number);
    this.#deferred.deliverUpTo(this.position);
    return delivered;
  }

  /** Calls `deliver` right after the entry `after` is delivered; never, when too many events wait. */
  deliverAfter(after: number, deliver: () => void): void {
    if (after <= this.position) deliver();
    else this.#deferred.add({ after, deliver });
  }

  /** Delivers an event that is not part of the stream. Returns the number of subscribers. */
  deliverUnnumbered(data: string): number {
    return this.#publish(data, null);
  }

  #publish(data: string, offset: number | null): number {
    const publication = createPublication(this.ref.channel, data, offset);
    for (const subscriber of this.subscribers) subscriber.send(publication);
    return this.subscribers.size;
  }

  #remove(userId: string): void {
    for (const pending of this.pending) if (pending.userId === userId) pending.isCancelled = true;
    for (const subscriber of this.subscribers) {
      if (subscriber.userId === userId) subscriber.detach(this, UNSUBSCRIBE.server);
    }
  }
}
