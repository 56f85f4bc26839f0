import { AppError } from "../../shared/contract/errors.ts";
import type { Connection } from "./connection.ts";
import type { StreamPosition, SubscribeResult } from "../protocol/frames.ts";
import { decideRecovery, type Budget } from "./recover.ts";
import { readMissed, type ReadMissedDeps } from "./read-missed.ts";
import type { CatchUp } from "../channels/catch-up.ts";
import type { Hub } from "../channels/hub.ts";
import type { PendingSubscription } from "../channels/pending-subscription.ts";
import type { Streams } from "../channels/streams.ts";
import type { Entry, StreamTop, TopicRef } from "../channels/topic-ref.ts";
import type { Topic } from "../channels/topic.ts";
import type { RealtimeMetrics } from "../metrics.ts";
import type { RedisSubscriptions } from "../broker/redis-subscriptions.ts";

export type SubscribeDeps = ReadMissedDeps & {
  hub: Hub<Connection>;
  live: RedisSubscriptions;
  streams: Streams;
  catchUp: CatchUp;
  metrics: RealtimeMetrics;
};

/** `asked`: the client's position; null when it does not recover. */
export type Want = { ref: TopicRef; asked: StreamPosition | null; rejectsUnrecovered: boolean };
export type Outcome =
  | { ref: TopicRef; result: SubscribeResult }
  | { ref: TopicRef; refusal: "denied" | "duplicate" | "unrecoverable" };

export type SubscribeRequest = {
  connection: Connection;
  userId: string;
  wants: readonly Want[];
  isServerSide: boolean;
  /** Reads, by live channel, the positions of the topics that the user may read. Called once nothing can be missed any more. */
  readTops: () => Promise<Map<string, StreamTop>>;
  /**
   * Called in the same turn in which the subscriptions begin, so that the reply precedes the first publication. What is sent
   * in this turn is one message on the socket.
   */
  reply: (outcomes: Outcome[]) => void;
};

/** A second reading is new enough for every topic, unless one was invalidated meanwhile. */
const MAX_READINGS = 3;

/**
 * Begins subscriptions without a gap. All of a request go through the same steps together:
 *
 *     following ──Redis has confirmed the live channels──▶ reading ──rights, positions, missed entries──▶ decided
 *                                                            ▲  │                                          │
 *                                                            └──┘ a topic was opened after the rights      ▼
 *                                                              were read: again                    begun, or refused
 *
 * - `following`: the topics exist, and no entry is missed from here on.
 * - `reading`: first the rights with the positions, then each topic is brought to its position, so that every removal up to
 *   there was seen here; then what the clients missed is read. What is delivered meanwhile is held for them.
 * - `decided`: in one turn of the event loop a subscription begins at its topic's position, the reply is sent, and how far
 *   Matrix has followed.
 *
 * Whatever the end, nothing is left of the pending subscriptions. A connection that was closed meanwhile gets no reply.
 * @throws AppError `unavailable` when the topics change faster than they are read.
 */
export async function subscribe(deps: SubscribeDeps, request: SubscribeRequest): Promise<void> {
  const { hub, live, limits } = deps;
  const { connection, userId, wants } = request;
  const pendings = wants.map((want) =>
    hub.beginPending(want.ref, userId, want.asked, limits.recoveredEntries),
  );
  try {
    await live.confirmed(
      pendings.map(({ topic }) => topic.liveChannel),
      limits.subscribeMs,
    );
    for (let reading = 1; reading <= MAX_READINGS; reading++) {
      const read = await readOnce(deps, pendings, request.readTops);
      if (connection.isClosed) return;
      if (isOutdated(pendings, read)) continue;
      const outcomes = decideOutcomes(deps, request, pendings, read);
      request.reply(outcomes);
      for (const outcome of outcomes)
        if ("result" in outcome)
          connection.subscriptions.get(outcome.ref.channel)?.topic.sendSent(connection);
      return;
    }
    throw new AppError("unavailable", "The rooms change too fast.");
  } finally {
    for (const pending of pendings) hub.endPending(pending);
  }
}

type Reading = { tops: ReadonlyMap<string, StreamTop>; found: ReadonlyMap<PendingSubscription, Entry[]> };

async function readOnce(
  deps: SubscribeDeps,
  pendings: readonly PendingSubscription[],
  readTops: SubscribeRequest["readTops"],
): Promise<Reading> {
  const tops = await readTops();
  const granted = pendings.filter(({ topic }) => tops.has(topic.liveChannel));
  await Promise.all(granted.map(({ topic }) => advance(deps, topic, tops.get(topic.liveChannel))));
  for (const { topic } of granted) {
    const top = tops.get(topic.liveChannel);
    if (!top) continue;
    topic.learnSent(top);
    topic.learnMembers(top);
  }
  return { tops, found: await readMissed(deps, granted) };
}

/** Whether another subscription opened a topic at a higher number. A removal up to there is in newer rights only. */
function isOutdated(pendings: readonly PendingSubscription[], { tops }: Reading): boolean {
  return pendings.some(({ topic }) => {
    const top = tops.get(topic.liveChannel);
    return top !== undefined && topic.isOpenedAfter(top);
  });
}

/** Brings a topic to its position at the reading of the rights, so that every older removal was seen here. */
async function advance(
  { streams, hub, catchUp }: SubscribeDeps,
  topic: Topic,
  read: StreamTop | undefined,
): Promise<void> {
  let top = read ?? null;
  if (topic.epoch === null) topic.open(top);
  else if (topic.epoch !== top?.epoch) {
    top = (await streams.tops([topic.ref])).get(topic.liveChannel) ?? null;
    if (topic.epoch !== top?.epoch) hub.invalidate(topic, top);
  }
  if (top) topic.learnScrubs(top.epoch, top.scrubs);
  if (top && topic.position < top.number) await catchUp.run(topic, top.number);
  else if (topic.seen > topic.position) catchUp.start(topic, topic.seen);
}

function decideOutcomes(
  deps: SubscribeDeps,
  request: SubscribeRequest,
  pendings: readonly PendingSubscription[],
  { tops, found }: Reading,
): Outcome[] {
  const { limits } = deps;
  const budget: Budget = { entries: limits.recoveredEntries, bytes: limits.recoveredBytes };
  return pendings.map((pending, index) => {
    const isGranted = tops.has(pending.topic.liveChannel) && !pending.isCancelled;
    const want = request.wants[index];
    // The room has another name than the one that is asked for.
    const isRenamed = want?.ref.channel !== pending.topic.ref.channel;
    if (!want || !isGranted || isRenamed) return { ref: want?.ref ?? pending.topic.ref, refusal: "denied" };
    // The client's command and a control message may subscribe the same room.
    if (request.connection.subscriptions.has(want.ref.channel))
      return { ref: want.ref, refusal: "duplicate" };
    return begin(deps, request, { pending, want, found: found.get(pending) ?? [], budget });
  });
}

function begin(
  { metrics }: SubscribeDeps,
  { connection, isServerSide }: SubscribeRequest,
  parts: { pending: PendingSubscription; want: Want; found: Entry[]; budget: Budget },
): Outcome {
  const { pending, want, found, budget } = parts;
  const { topic } = pending;
  if (topic.epoch === null) throw new Error("a subscription begins at no position");
  const top: StreamTop = { epoch: topic.epoch, number: topic.position };
  const recovery = want.asked ? decideRecovery(want.asked, top, { found, held: pending.held }, budget) : null;
  if (recovery) metrics.recovery(recovery.isRecovered, recovery.publications.length);
  if (recovery && !recovery.isRecovered && want.rejectsUnrecovered)
    return { ref: topic.ref, refusal: "unrecoverable" };
  connection.attach(topic, isServerSide);
  // After a recovery the client counts on from its own position, one publication after the other.
  const offset = recovery?.isRecovered && want.asked ? want.asked.offset : top.number;
  return { ref: topic.ref, result: { epoch: top.epoch, offset, recovery } };
}
