import { errorText } from "../../shared/contract/errors.ts";
import type { Log } from "../../shared/platform/log.ts";
import type { Semaphore } from "../../shared/platform/concurrency/semaphore.ts";
import { roomLiveChannel } from "../../shared/platform/redis-keys.ts";
import type { ControlMessage } from "../../shared/timeline/live-messages.ts";
import { closeOfCode, UNSUBSCRIBE } from "../protocol/codes.ts";
import { liveChannelOf, type TopicRef } from "../channels/topic-ref.ts";
import type { Topic } from "../channels/topic.ts";
import { connectBytes } from "../session/connect.ts";
import type { Connection } from "../session/connection.ts";
import { subscribe, type SubscribeDeps } from "../session/subscribe.ts";
import type { Grant, Policy } from "./policy.ts";

export type ControlMessagesDeps = SubscribeDeps & { policy: Policy; log: Log };

/**
 * Updates the subscriptions of connections when the rooms of their users change. A control message may be late or a
 * duplicate, so the rights are read from Postgres first.
 */
export class ControlMessages {
  readonly #deps: ControlMessagesDeps;
  /** The rooms to update, by user. A user with an entry is being updated. */
  readonly #due = new Map<string, Set<string>>();
  /** A bulk change sends thousands of messages. The semaphore leaves Postgres to the connects. */
  readonly #semaphore: Semaphore;

  constructor(deps: ControlMessagesDeps, semaphore: Semaphore) {
    this.#deps = deps;
    this.#semaphore = semaphore;
  }

  handle(userId: string, message: ControlMessage): void {
    if (message.kind === "disconnect") {
      const { code, issuedBeforeMs = Number.POSITIVE_INFINITY } = message;
      for (const connection of this.#connectionsOf(userId))
        if (!connection.hasTokenSince(issuedBeforeMs)) connection.close(closeOfCode(code));
      return;
    }
    if (message.kind === "close-socket") {
      const { connection: id, code } = message;
      this.#connectionsOf(userId)
        .find((connection) => connection.id === id)
        ?.close(closeOfCode(code));
      return;
    }
    const due = this.#due.get(userId);
    if (due) due.add(message.roomId);
    else {
      this.#due.set(userId, new Set([message.roomId]));
      void this.#updateDue(userId);
    }
  }

  /** Reads a connection's rights again and updates its subscriptions. */
  async review(connection: Connection): Promise<void> {
    const { policy } = this.#deps;
    const { userId } = connection;
    if (userId === null || connection.isClosed) return;
    const rights = await policy.rightsOf(userId);
    const subscribed = [...connection.subscriptions.values()].flatMap(({ topic }) =>
      topic.ref.kind === "room" ? [topic] : [],
    );
    const recent = new Set(rights.grants.map(({ ref }) => ref.id));
    const others = subscribed.map(({ ref }) => ref.id).filter((id) => !recent.has(id));
    const granted = await policy.grantsOf(userId, others);
    const allowed = new Set([...recent, ...granted.map(({ ref }) => ref.id)]);
    for (const topic of subscribed) if (!allowed.has(topic.ref.id)) unsubscribe(connection, topic);
    const wanted = rights.grants
      .map(({ ref }) => ref)
      .filter(({ channel }) => !connection.hasOptedOut(channel));
    await this.#subscribe(connection, wanted);
    connection.needsReview = false;
    connection.membershipVersion = rights.membershipVersion;
  }

  /** Like `review`, without waiting. After a failure the next anti-entropy check reviews the connection. */
  reviewInBackground(connection: Connection): void {
    this.#semaphore
      .run(() => this.review(connection))
      .catch((error: unknown) => {
        connection.membershipVersion = "";
        this.#deps.log.warn(
          { connection: connection.id, reason: errorText(error) },
          "reviewing rights failed",
        );
      });
  }

  async #updateDue(userId: string): Promise<void> {
    for (let rooms = this.#due.get(userId); rooms && rooms.size > 0; rooms = this.#due.get(userId)) {
      const roomIds = [...rooms];
      rooms.clear();
      try {
        await this.#semaphore.run(() => this.#update(userId, roomIds));
      } catch (error) {
        for (const connection of this.#connectionsOf(userId)) connection.membershipVersion = "";
        this.#deps.log.warn({ reason: errorText(error) }, "applying a control message failed");
      }
    }
    this.#due.delete(userId);
  }

  async #update(userId: string, roomIds: readonly string[]): Promise<void> {
    const { policy, hub, catchUp } = this.#deps;
    const grants = await policy.grantsOf(userId, roomIds);
    const granted = new Map(grants.map((grant): [string, Grant] => [grant.ref.id, grant]));
    for (const roomId of roomIds) {
      const topic = hub.topics.get(roomLiveChannel(roomId));
      const top = granted.get(roomId)?.top;
      if (topic && !top) for (const connection of this.#connectionsOf(userId)) unsubscribe(connection, topic);
      // An older removal may not have arrived yet: it is delivered before the subscriptions are read.
      else if (top && topic?.epoch === top.epoch && topic.position < top.number)
        await catchUp.run(topic, top.number);
    }
    const refs = grants.map(({ ref }) => ref);
    for (const connection of this.#connectionsOf(userId)) {
      if (connection.state === "ready") await this.#subscribe(connection, refs);
      else connection.needsReview = true;
    }
  }

  /** Subscribes a connection to the rooms that it lacks, within its limits, and pushes that to the client. */
  async #subscribe(connection: Connection, refs: readonly TopicRef[]): Promise<void> {
    const { userId } = connection;
    const deps = this.#deps;
    const lacking = withinLimits(
      deps,
      connection,
      refs.filter(({ channel }) => !connection.subscriptions.has(channel)),
    );
    if (userId === null || connection.isClosed || lacking.length === 0) return;
    const roomIds = lacking.map(({ id }) => id);
    await subscribe(deps, {
      connection,
      userId,
      wants: lacking.map((ref) => ({ ref, asked: null, rejectsUnrecovered: false })),
      isServerSide: true,
      readTops: async () => {
        const grants = await deps.policy.grantsOf(userId, roomIds);
        return new Map(grants.map(({ ref, top }) => [liveChannelOf(ref), top]));
      },
      reply: (outcomes) => {
        for (const outcome of outcomes) {
          if ("result" in outcome)
            connection.send({
              kind: "subscribe",
              channel: outcome.ref.channel,
              result: outcome.result,
            });
        }
      },
    });
  }

  #connectionsOf(userId: string): Connection[] {
    return [...(this.#deps.hub.users.get(userId) ?? [])];
  }
}

function unsubscribe(connection: Connection, topic: Topic): void {
  if (connection.subscriptions.get(topic.ref.channel)?.topic !== topic) return;
  connection.detach(topic, UNSUBSCRIBE.server);
}

function withinLimits(
  { limits }: ControlMessagesDeps,
  connection: Connection,
  refs: readonly TopicRef[],
): TopicRef[] {
  let channels = limits.channels - connection.subscriptionCount;
  let bytes = limits.connectBytes;
  for (const { topic, isServerSide } of connection.subscriptions.values())
    if (isServerSide) bytes -= connectBytes(topic.ref);
  return refs.filter((ref) => {
    channels -= 1;
    bytes -= connectBytes(ref);
    return channels >= 0 && bytes >= 0;
  });
}
