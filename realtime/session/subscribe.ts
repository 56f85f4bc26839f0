import { AppError } from "../../shared/contract/errors.ts";
import type { CatchUp } from "../channels/catch-up.ts";
import type { Connection } from "./connection.ts";
import type { RealtimeMetrics } from "../metrics.ts";
import type { Hub } from "../channels/hub.ts";
import type { Limits } from "../limits.ts";
import type { StreamPosition, SubscribeResult } from "../protocol/json.ts";
import { countMissed, decideRecovery, type Budget } from "./recover.ts";
import type { RedisSubscriptions } from "../broker/redis-subscriptions.ts";
import type { Streams } from "../channels/streams.ts";
import type { Entry, PendingSubscription, StreamTop, Topic, TopicRef } from "../channels/topic.ts";

export type SubscribeDeps = {
  hub: Hub<Connection>;
  live: RedisSubscriptions;
  streams: Streams;
  catchUp: CatchUp;
  limits: Limits;
  metrics: RealtimeMetrics;
};

/** `asked`: where the client says it stands, null when it does not ask. */
export type Want = { ref: TopicRef; asked: StreamPosition | null; rejectsUnrecovered: boolean };
export type Outcome =
  | { ref: TopicRef; result: SubscribeResult }
  | { ref: TopicRef; refusal: "denied" | "doubled" | "unrecoverable" };

export type SubscribeRequest = {
  connection: Connection;
  userId: string;
  wants: readonly Want[];
  isServerSide: boolean;
  /** What the user may hear, and where it stands, by live channel: read when nothing that follows can be missed. */
  readTops: () => Promise<Map<string, StreamTop>>;
  /** Told in the same turn in which the subscriptions begin, so that the reply precedes the first publication. */
  reply: (outcomes: Outcome[]) => void;
};

/** Readings of one request: a second one is as new as every topic, unless one lost its place meanwhile. */
const READINGS_AT_MOST = 3;

/**
 * Begins subscriptions without a hole: listen first, then read rights and positions, then what was missed, and join
 * both. Whatever fails, nothing stays behind. A connection that was closed meanwhile gets no reply.
 * @throws AppError `unavailable` when the topics do not come to rest.
 */
export async function subscribe(deps: SubscribeDeps, request: SubscribeRequest): Promise<void> {
  const { hub, live, limits } = deps;
  const { connection, userId, wants } = request;
  const pendings = wants.map((want) => hub.join(want.ref, userId, want.asked, limits.recoveredEntries));
  try {
    await live.confirmed(
      pendings.map(({ topic }) => topic.liveChannel),
      limits.subscribeMs,
    );
    for (let reading = 1; reading <= READINGS_AT_MOST; reading++) {
      const read = await readOnce(deps, pendings, request.readTops);
      if (connection.isClosed) return;
      if (isOutdated(pendings, read)) continue;
      request.reply(decideOutcomes(deps, request, pendings, read));
      return;
    }
    throw new AppError("unavailable", "The rooms do not come to rest.");
  } finally {
    for (const pending of pendings) hub.leave(pending);
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
  await Promise.all(granted.map(({ topic }) => settle(deps, topic, tops.get(topic.liveChannel))));
  return { tops, found: await readMissed(deps, granted) };
}

/** Whether somebody else opened a topic at a higher number: a removal up to there is in newer rights alone. */
function isOutdated(pendings: readonly PendingSubscription[], { tops }: Reading): boolean {
  return pendings.some(({ topic }) => {
    const top = tops.get(topic.liveChannel);
    return top !== undefined && topic.isOpenedAfter(top);
  });
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
    if (!want || !isGranted) return { ref: pending.topic.ref, refusal: "denied" };
    // The client's own command and an order may have met.
    if (request.connection.subscriptions.has(want.ref.channel)) return { ref: want.ref, refusal: "doubled" };
    return finish(deps, request, { pending, want, found: found.get(pending) ?? [], budget });
  });
}

/** Brings a topic to where the truth was when the rights were read, so that no removal older than them is to come. */
async function settle(
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
  if (top && topic.position < top.number) await catchUp.run(topic, top.number);
  else if (topic.seen > topic.position) catchUp.start(topic, topic.seen);
}

async function readMissed(
  deps: SubscribeDeps,
  pendings: readonly PendingSubscription[],
): Promise<Map<PendingSubscription, Entry[]>> {
  let left = deps.limits.recoveredEntries;
  const lacking = pendings.flatMap((pending) => {
    const { topic, asked } = pending;
    const missed = asked && topic.epoch !== null ? countMissed(asked, topOf(topic)) : null;
    if (!asked || missed === null || missed === 0 || missed > left) return [];
    left -= missed;
    return [{ pending, request: { ref: topic.ref, epoch: asked.epoch, after: asked.offset, limit: missed } }];
  });
  const first = await deps.streams.read(lacking.map(({ request }) => request));
  const found = new Map<PendingSubscription, Entry[]>();
  const broken = lacking.filter(({ pending, request }, index) => {
    const entries = first[index] ?? [];
    found.set(pending, entries);
    return entries.length < request.limit || entries[0]?.number !== request.after + 1;
  });
  if (broken.length > 0) {
    await Promise.all(broken.map(({ request }) => deps.streams.repair(request)));
    const second = await deps.streams.read(broken.map(({ request }) => request));
    for (const [index, { pending }] of broken.entries()) found.set(pending, second[index] ?? []);
  }
  return found;
}

function finish(
  { metrics }: SubscribeDeps,
  { connection, isServerSide }: SubscribeRequest,
  {
    pending,
    want,
    found,
    budget,
  }: { pending: PendingSubscription; want: Want; found: Entry[]; budget: Budget },
): Outcome {
  const { topic } = pending;
  const top = topOf(topic);
  const recovery = want.asked ? decideRecovery(want.asked, top, { found, held: pending.held }, budget) : null;
  if (recovery) metrics.recovery(recovery.isRecovered, recovery.publications.length);
  if (recovery && !recovery.isRecovered && want.rejectsUnrecovered)
    return { ref: topic.ref, refusal: "unrecoverable" };
  connection.attach(topic, isServerSide);
  // After a recovery the client counts on from where it was, one publication after the other.
  const offset = recovery?.isRecovered && want.asked ? want.asked.offset : top.number;
  return { ref: topic.ref, result: { epoch: top.epoch, offset, recovery } };
}

function topOf(topic: Topic): StreamTop {
  return { epoch: topic.epoch ?? "", number: topic.position };
}
