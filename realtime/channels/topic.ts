import type { Publication as RoomEvent } from "../../shared/contract/frames.ts";
import { UNSUBSCRIBE, type Close, type Unsubscribe } from "../protocol/codes.ts";
import { createPublication, type Frame, type Publication } from "../protocol/frames.ts";
import { DeferredEvents } from "./deferred-events.ts";
import { liveChannelOf, type Entry, type StreamTop, type TopicRef } from "./topic-ref.ts";

export interface Subscriber {
  readonly userId: string | null;
  /** Bytes that wait for the client to read them. */
  readonly queueBytes: number;
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
 * How the entries of a topic arrive; `CatchUp` alone changes it.
 *
 * - `following`: nothing is missing. The next entry is delivered when it is published.
 * - `waiting`: entries are missing, and it is not the topic's turn to read them.
 * - `reading`: a page of the missing entries is being read.
 * - `paused`: a page was delivered, and its subscribers have much to read before the next one.
 *
 * In all modes but `following`, what is published is not delivered: it is read in its turn.
 */
export type TopicMode = "following" | "waiting" | "reading" | "paused";

/**
 * One stream as this process follows it. Every subscriber has received everything up to `position` in `epoch`. `epoch` is
 * null until both were read from the source of truth.
 */
export class Topic {
  /** Its channel is another one after a rename of the room, under another epoch. */
  ref: TopicRef;
  readonly liveChannel: string;
  readonly subscribers = new Set<Subscriber>();
  readonly pending = new Set<PendingSubscriber>();
  /** Connections that need the live channel without a subscription. */
  watchers = 0;
  epoch: string | null = null;
  /** The highest that was read or announced in this epoch: the entries are read from that stream. */
  scrubs = 0;
  position = 0;
  /** The position at which the topic was opened. Entries up to it, and their removals, were not seen here. */
  openedAt = 0;
  /** The highest number that was announced. */
  seen = 0;
  mode: TopicMode = "following";
  /** Of a room, as they were read last: at the latest subscription or check. */
  members = 0;
  /** All of the room's messages up to it are seen on Matrix or dead. Never above `position`, and never goes back in an epoch. */
  #sentUpTo = 0;
  /** The `sentUpTo` that every subscriber has received. */
  #sentDelivered = 0;
  #sent: Publication | null = null;
  readonly #deferred = new DeferredEvents();

  constructor(ref: TopicRef) {
    this.ref = ref;
    this.liveChannel = liveChannelOf(ref);
  }

  get isIdle(): boolean {
    return this.subscribers.size === 0 && this.pending.size === 0 && this.watchers === 0;
  }

  open(top: StreamTop | null): void {
    if (top?.channel !== undefined) this.#rename(top.channel);
    this.epoch = top?.epoch ?? null;
    this.scrubs = top?.scrubs ?? 0;
    this.position = top?.number ?? 0;
    this.openedAt = this.position;
    this.#sentUpTo = top?.sentUpTo ?? 0;
    this.#sentDelivered = this.#sentUpTo;
    this.#sent = null;
    this.#deferred.clear();
  }

  /** Records that what stood in an earlier stream of the epoch was removed. */
  learnScrubs(epoch: string, scrubs = 0): void {
    if (epoch === this.epoch) this.scrubs = Math.max(this.scrubs, scrubs);
  }

  learnMembers({ members }: StreamTop): void {
    if (members !== undefined) this.members = members;
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

  /** Records how far Matrix has followed the room, as it was read with a top. */
  learnSent({ epoch, sentUpTo = 0 }: StreamTop): void {
    if (epoch !== this.epoch || sentUpTo <= this.#sentUpTo || sentUpTo > this.position) return;
    this.#sentUpTo = sentUpTo;
    this.#sent = null;
  }

  /**
   * Delivers how far Matrix has followed the room to the subscribers that have received less. Returns their number. A smaller
   * `top.sentUpTo` than the known one comes late, and the known one is delivered.
   */
  deliverSent(top: StreamTop): number {
    this.learnSent(top);
    if (this.#sentDelivered >= this.#sentUpTo) return 0;
    this.#sentDelivered = this.#sentUpTo;
    for (const subscriber of this.subscribers) subscriber.send(this.#sentPublication());
    return this.subscribers.size;
  }

  /** Sends to a new subscriber how far Matrix has followed the room. A user's topic has nothing to send. */
  sendSent(subscriber: Subscriber): void {
    if (this.ref.kind === "room") subscriber.send(this.#sentPublication());
  }

  #sentPublication(): Publication {
    const { channel } = this.ref;
    const event: RoomEvent = { type: "sent", room: channel, number: this.#sentUpTo };
    this.#sent ??= createPublication(channel, JSON.stringify(event), null);
    return this.#sent;
  }

  #publish(data: string, offset: number | null): number {
    const publication = createPublication(this.ref.channel, data, offset);
    for (const subscriber of this.subscribers) subscriber.send(publication);
    return this.subscribers.size;
  }

  /** Ends the subscriptions to the former channel: rights are read again for the present one. */
  #rename(channel: string): void {
    if (channel === this.ref.channel) return;
    for (const subscriber of this.subscribers) subscriber.detach(this, UNSUBSCRIBE.server);
    this.ref = { ...this.ref, channel };
  }

  #remove(userId: string): void {
    for (const pending of this.pending) if (pending.userId === userId) pending.isCancelled = true;
    for (const subscriber of this.subscribers) {
      if (subscriber.userId === userId) subscriber.detach(this, UNSUBSCRIBE.server);
    }
  }
}
