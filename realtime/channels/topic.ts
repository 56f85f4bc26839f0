import { roomLiveChannel, userLiveChannel } from "../../shared/platform/redis-keys.ts";
import { UNSUBSCRIBE, type Close, type Unsubscribe } from "../protocol/codes.ts";
import { formatPublication, type Frame, type StreamPosition } from "../protocol/json.ts";

/** What can be subscribed to: a room's timeline or a user's hints. `id` is the row id, `channel` the client's name for it. */
export type TopicRef = { kind: "room" | "user"; id: string; channel: string };

/** Where a stream ends. */
export type StreamTop = { epoch: string; number: number };

/**
 * `leaver`: the user who must be dropped before anybody is told; `requestId`: of the request that caused it, where one
 * did; `data` is JSON text.
 */
export type Entry = { number: number; removedUserId: string | null; requestId: string | null; data: string };

export interface Subscriber {
  readonly userId: string | null;
  send(frame: Frame): void;
  close(close: Close): void;
  /** Ends the subscription; the client is told when `why` is given. */
  detach(topic: Topic, why: Unsubscribe | null): void;
  isServerSide(topic: Topic): boolean;
}

export function liveChannelOf(ref: TopicRef): string {
  return ref.kind === "room" ? roomLiveChannel(ref.id) : userLiveChannel(ref.id);
}

/** A subscription that is being made. While it asks for what it missed, what is delivered meanwhile is held for it. */
export class PendingSubscription {
  readonly topic: Topic;
  readonly userId: string;
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

  /** Beyond the limit nothing is held: the hole is seen when the parts are joined. */
  hold(entry: Entry): void {
    if (this.asked && this.held.length < this.#maxHeld) this.held.push(entry);
  }
}

/** Of one topic, what waits for its turn; more is left out. */
const MAX_DEFERRED = 100;

/**
 * One stream as this process follows it: everything up to `position` in `epoch` was delivered to every subscriber.
 * Closed until both were read from where the truth is.
 */
export class Topic {
  readonly ref: TopicRef;
  readonly liveChannel: string;
  readonly subscribers = new Set<Subscriber>();
  readonly pending = new Set<PendingSubscription>();
  /** Who needs the live channel without being subscribed. */
  watchers = 0;
  epoch: string | null = null;
  position = 0;
  /** Where it was opened: no entry up to this number was met here, so no removal either. */
  openedAt = 0;
  /** The highest number heard of. */
  seen = 0;
  catching: Promise<void> | null = null;
  #deferred: { after: number; tell: () => void }[] = [];

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
    this.#deferred = [];
  }

  /** Whether what was read at `top` may be older than a removal that was never met here. */
  isOpenedAfter(top: StreamTop): boolean {
    return this.ref.kind === "room" && (this.epoch !== top.epoch || top.number < this.openedAt);
  }

  /** Delivers the entry that follows `position`; its leaver hears nothing of it. Returns how many were told. */
  deliver(entry: Entry): number {
    if (entry.removedUserId) this.#drop(entry.removedUserId);
    this.position = entry.number;
    for (const pending of this.pending) pending.hold(entry);
    const delivered = this.#send(formatPublication(this.ref.channel, entry.data, entry.number));
    if (this.#deferred.length > 0) this.#deliverDeferred();
    return delivered;
  }

  /** Has `tell` called when everything up to `after` was delivered, and before what follows; never when too many wait. */
  deliverAfter(after: number, tell: () => void): void {
    if (after <= this.position) tell();
    else if (this.#deferred.length < MAX_DEFERRED) this.#deferred.push({ after, tell });
  }

  #deliverDeferred(): void {
    const isDue = ({ after }: { after: number }) => after <= this.position;
    const due = this.#deferred.filter(isDue);
    this.#deferred = this.#deferred.filter((deferred) => !isDue(deferred));
    for (const { tell } of due) tell();
  }

  /** Delivers what is not part of the stream. */
  deliverUnnumbered(data: string): number {
    return this.#send(formatPublication(this.ref.channel, data, null));
  }

  #send(frame: Frame): number {
    for (const subscriber of this.subscribers) subscriber.send(frame);
    return this.subscribers.size;
  }

  #drop(userId: string): void {
    for (const pending of this.pending) if (pending.userId === userId) pending.isCancelled = true;
    for (const subscriber of this.subscribers) {
      if (subscriber.userId === userId) subscriber.detach(this, UNSUBSCRIBE.server);
    }
  }
}
