import { CLOSE, UNSUBSCRIBE } from "../protocol/codes.ts";
import type { StreamPosition } from "../protocol/frames.ts";
import type { RedisSubscriptions } from "../broker/redis-subscriptions.ts";
import type { PresenceChanges } from "../presence/presence-changes.ts";
import { PendingSubscription } from "./pending-subscription.ts";
import { liveChannelOf, type StreamTop, type TopicRef } from "./topic-ref.ts";
import { Topic, type Subscriber } from "./topic.ts";

/** The connections of this process and the topics that they follow. It knows no tenants and no rights. */
export class Hub<C extends Subscriber> {
  readonly connections = new Set<C>();
  readonly #topics = new Map<string, Topic>();
  readonly #users = new Map<string, Set<C>>();
  readonly #live: Pick<RedisSubscriptions, "listen" | "drop">;
  readonly #presence: Pick<PresenceChanges, "note">;

  constructor(live: Pick<RedisSubscriptions, "listen" | "drop">, presence: Pick<PresenceChanges, "note">) {
    this.#live = live;
    this.#presence = presence;
  }

  /** By live channel. */
  get topics(): ReadonlyMap<string, Topic> {
    return this.#topics;
  }

  /** The connections of each user. */
  get users(): ReadonlyMap<string, ReadonlySet<C>> {
    return this.#users;
  }

  /** Whether the topic is still followed. */
  has(topic: Topic): boolean {
    return this.#topics.get(topic.liveChannel) === topic;
  }

  /** Records whose connection it is, and follows that user's channel until `removeUser`. */
  addUser(connection: C, userRef: TopicRef): void {
    this.#topic(userRef).watchers += 1;
    const connections = this.#users.get(userRef.id);
    if (connections) connections.add(connection);
    else this.#users.set(userRef.id, new Set([connection]));
  }

  removeUser(connection: C, userRef: TopicRef): void {
    const topic = this.#topics.get(liveChannelOf(userRef));
    if (topic) {
      topic.watchers -= 1;
      this.release(topic);
    }
    const connections = this.#users.get(userRef.id);
    connections?.delete(connection);
    if (connections?.size === 0) this.#users.delete(userRef.id);
  }

  /** Notes that a connection of a user was added to a room's subscribers, or removed from them. */
  noteSubscriber(topic: Topic, userRef: TopicRef): void {
    if (topic.ref.kind === "room") this.#presence.note(topic, userRef);
  }

  /** Follows a topic for a subscription to come. `endPending` must follow, whatever the outcome. */
  beginPending(
    ref: TopicRef,
    userId: string,
    asked: StreamPosition | null,
    maxHeld: number,
  ): PendingSubscription {
    const topic = this.#topic(ref);
    const pending = new PendingSubscription(topic, userId, asked, maxHeld);
    topic.pending.add(pending);
    return pending;
  }

  endPending(pending: PendingSubscription): void {
    pending.topic.pending.delete(pending);
    this.release(pending.topic);
  }

  /** Stops following a topic that has no subscriber, no pending subscription and no watcher. */
  release(topic: Topic): void {
    if (!topic.isIdle || !this.has(topic)) return;
    this.#topics.delete(topic.liveChannel);
    this.#live.drop(topic.liveChannel);
  }

  /**
   * Ends every subscription of a topic whose gap cannot be filled, and follows the topic from `top` on. No unsubscribe code
   * makes a client ask again for a subscription of the server, so those connections are closed and come back.
   */
  invalidate(topic: Topic, top: StreamTop | null): void {
    topic.open(top);
    topic.seen = 0;
    for (const subscriber of topic.subscribers) {
      if (subscriber.isServerSide(topic)) subscriber.close(CLOSE.insufficientState);
      else subscriber.detach(topic, UNSUBSCRIBE.insufficientState);
    }
  }

  #topic(ref: TopicRef): Topic {
    const liveChannel = liveChannelOf(ref);
    const known = this.#topics.get(liveChannel);
    if (known) return known;
    const topic = new Topic(ref);
    this.#topics.set(liveChannel, topic);
    this.#live.listen(liveChannel);
    return topic;
  }
}
