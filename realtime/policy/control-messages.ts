import { errorText } from "../../shared/contract/errors.ts";
import type { UserLiveMessage } from "../../shared/timeline/live-messages.ts";
import { roomLiveChannel } from "../../shared/platform/redis-keys.ts";
import { closeOfCode, UNSUBSCRIBE } from "../protocol/codes.ts";
import { connectBytes, type ConnectDeps } from "../session/connect.ts";
import type { Connection } from "../session/connection.ts";
import type { Semaphore } from "../../shared/platform/concurrency/semaphore.ts";
import { formatSubscribePush } from "../protocol/json.ts";
import { subscribe } from "../session/subscribe.ts";
import { liveChannelOf, type Topic, type TopicRef } from "../channels/topic.ts";
import type { Grant } from "./policy.ts";

/**
 * Brings what connections are subscribed to in line with what their users may hear. An order is only a reason to look:
 * it may be late or doubled, so Postgres is asked first.
 */
export class ControlMessages {
  readonly #deps: () => ConnectDeps;
  /** Rooms to look at, by user; a user with an entry is being looked after. */
  readonly #due = new Map<string, Set<string>>();

  /** A bulk change orders thousands: they take their turns, and leave Postgres to those who connect. */
  readonly #semaphore: Semaphore;

  constructor(deps: () => ConnectDeps, semaphore: Semaphore) {
    this.#deps = deps;
    this.#semaphore = semaphore;
  }

  take(userId: string, order: Exclude<UserLiveMessage, { kind: "hint" }>): void {
    if (order.kind === "disconnect") {
      for (const connection of this.#connectionsOf(userId)) connection.close(closeOfCode(order.code));
      return;
    }
    const due = this.#due.get(userId);
    if (due) due.add(order.roomId);
    else {
      this.#due.set(userId, new Set([order.roomId]));
      void this.#lookAfter(userId);
    }
  }

  /** Reads a connection's rights anew and does what follows from them. */
  async review(connection: Connection): Promise<void> {
    const { policy } = this.#deps();
    const { userId } = connection;
    if (userId === null || connection.isClosed) return;
    const rights = await policy.rightsOf(userId);
    const held = [...connection.subscriptions.values()].flatMap(({ topic }) =>
      topic.ref.kind === "room" ? [topic] : [],
    );
    const recent = new Set(rights.grants.map(({ ref }) => ref.id));
    const others = held.map(({ ref }) => ref.id).filter((id) => !recent.has(id));
    const kept = await policy.grantsOf(userId, others);
    const allowed = new Set([...recent, ...kept.map(({ ref }) => ref.id)]);
    for (const topic of held) if (!allowed.has(topic.ref.id)) dropFrom(connection, topic);
    const fresh = rights.grants
      .map(({ ref }) => ref)
      .filter(({ channel }) => !connection.optedOut.has(channel));
    await this.#add(connection, fresh);
    connection.isInDoubt = false;
    connection.membershipVersion = rights.membershipVersion;
  }

  /** As `review`; a failure leaves the connection to the next check. */
  reviewInBackground(connection: Connection): void {
    this.#semaphore
      .run(() => this.review(connection))
      .catch((error: unknown) => {
        connection.membershipVersion = "";
        this.#deps().log.warn(
          { connection: connection.id, reason: errorText(error) },
          "reviewing rights failed",
        );
      });
  }

  async #lookAfter(userId: string): Promise<void> {
    for (let rooms = this.#due.get(userId); rooms && rooms.size > 0; rooms = this.#due.get(userId)) {
      const roomIds = [...rooms];
      rooms.clear();
      try {
        await this.#semaphore.run(() => this.#settle(userId, roomIds));
      } catch (error) {
        for (const connection of this.#connectionsOf(userId)) connection.membershipVersion = "";
        this.#deps().log.warn({ reason: errorText(error) }, "following an order failed");
      }
    }
    this.#due.delete(userId);
  }

  async #settle(userId: string, roomIds: readonly string[]): Promise<void> {
    const { policy, hub, catchUp } = this.#deps();
    const grants = await policy.grantsOf(userId, roomIds);
    const granted = new Map(grants.map((grant): [string, Grant] => [grant.ref.id, grant]));
    for (const roomId of roomIds) {
      const topic = hub.topics.get(roomLiveChannel(roomId));
      const top = granted.get(roomId)?.top;
      if (topic && !top) for (const connection of this.#connectionsOf(userId)) dropFrom(connection, topic);
      // An older removal may still be on its way: it must be met before who is subscribed is looked at.
      else if (top && topic?.epoch === top.epoch && topic.position < top.number)
        await catchUp.run(topic, top.number);
    }
    for (const connection of this.#connectionsOf(userId)) {
      if (connection.state !== "ready") connection.isInDoubt = true;
      else
        await this.#add(
          connection,
          grants.map(({ ref }) => ref),
        );
    }
  }

  /** Subscribes a connection to rooms that it lacks, as far as it may have more, and tells the client. */
  async #add(connection: Connection, refs: readonly TopicRef[]): Promise<void> {
    const { userId } = connection;
    const deps = this.#deps();
    const lacking = withinLimits(
      deps,
      connection,
      refs.filter(({ channel }) => !connection.subscriptions.has(channel)),
    );
    if (userId === null || connection.isClosed || lacking.length === 0) return;
    await subscribe(deps, {
      connection,
      userId,
      wants: lacking.map((ref) => ({ ref, asked: null, rejectsUnrecovered: false })),
      isServerSide: true,
      readTops: async () => {
        const grants = await deps.policy.grantsOf(
          userId,
          lacking.map(({ id }) => id),
        );
        return new Map(grants.map(({ ref, top }) => [liveChannelOf(ref), top]));
      },
      reply: (outcomes) => {
        for (const outcome of outcomes) {
          if ("result" in outcome) connection.send(formatSubscribePush(outcome.ref.channel, outcome.result));
        }
      },
    });
  }

  #connectionsOf(userId: string): Connection[] {
    return [...(this.#deps().hub.users.get(userId) ?? [])];
  }
}

function dropFrom(connection: Connection, topic: Topic): void {
  if (connection.subscriptions.get(topic.ref.channel)?.topic !== topic) return;
  connection.detach(topic, UNSUBSCRIBE.server);
}

function withinLimits(
  { limits }: ConnectDeps,
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
