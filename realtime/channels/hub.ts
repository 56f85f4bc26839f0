import { CLOSE, UNSUBSCRIBE, type Unsubscribe } from "../protocol/codes.ts";
import type { StreamPosition } from "../protocol/json.ts";
import type { RedisSubscriptions } from "../broker/redis-subscriptions.ts";
import {
  PendingSubscription,
  liveChannelOf,
  Topic,
  type StreamTop,
  type Subscriber,
  type TopicRef,
} from "./topic.ts";

/** Who is connected and what is followed. It knows no tenants and no rights. */
export class Hub<C extends Subscriber> {
  readonly connections = new Set<C>();
  readonly #topics = new Map<string, Topic>();
  readonly #users = new Map<string, Set<C>>();
  readonly #live: RedisSubscriptions;

  constructor(live: RedisSubscriptions) {
    this.#live = live;
  }

  get topics(): ReadonlyMap<string, Topic> {
    return this.#topics;
  }

  get users(): ReadonlyMap<string, ReadonlySet<C>> {
    return this.#users;
  }

  /** Whether the topic is the one that is followed now. */
  has(topic: Topic): boolean {
    return this.#topics.get(topic.liveChannel) === topic;
  }

  /** Says who a connection is, and follows that user's own channel for as long as it lives. */
  identify(connection: C, userRef: TopicRef): void {
    this.#topic(userRef).watchers += 1;
    const connections = this.#users.get(userRef.id);
    if (connections) connections.add(connection);
    else this.#users.set(userRef.id, new Set([connection]));
  }

  forget(connection: C, userRef: TopicRef): void {
    const topic = this.#topics.get(liveChannelOf(userRef));
    if (topic) {
      topic.watchers -= 1;
      this.release(topic);
    }
    const connections = this.#users.get(userRef.id);
    connections?.delete(connection);
    if (connections?.size === 0) this.#users.delete(userRef.id);
  }

  /** Begins a subscription; `leave` must follow, whether it was made or not. */
  join(ref: TopicRef, userId: string, asked: StreamPosition | null, maxHeld: number): PendingSubscription {
    const topic = this.#topic(ref);
    const pending = new PendingSubscription(topic, userId, asked, maxHeld);
    topic.pending.add(pending);
    return pending;
  }

  leave(pending: PendingSubscription): void {
    pending.topic.pending.delete(pending);
    this.release(pending.topic);
  }

  /** Stops following a topic that nobody needs. */
  release(topic: Topic): void {
    if (!topic.isIdle || !this.has(topic)) return;
    this.#topics.delete(topic.liveChannel);
    this.#live.drop(topic.liveChannel);
  }

  /**
   * Tells everybody on a topic that there is a hole which cannot be filled, and follows it from `top` on. The server's
   * own subscriptions have no code that makes a client ask again, so those clients come back with a new connection.
   */
  invalidate(topic: Topic, top: StreamTop | null): void {
    topic.open(top);
    topic.seen = 0;
    for (const subscriber of topic.subscribers) {
      if (subscriber.isServerSide(topic)) subscriber.close(CLOSE.insufficientState);
      else subscriber.detach(topic, UNSUBSCRIBE.insufficientState satisfies Unsubscribe);
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
