import { z } from "zod";
import {
  roomLiveMessage,
  userLiveMessage,
  type ControlMessage,
  type RoomLiveMessage,
} from "../../shared/timeline/live-messages.ts";
import type { Log } from "../../shared/platform/log.ts";
import type { CatchUp } from "./catch-up.ts";
import type { Connection } from "../session/connection.ts";
import type { RealtimeMetrics } from "../metrics.ts";
import type { Hub } from "./hub.ts";
import { logDelivery } from "./delivery-log.ts";
import type { Entry } from "./topic-ref.ts";
import type { Topic } from "./topic.ts";

export type DeliverDeps = {
  hub: Hub<Connection>;
  catchUp: CatchUp;
  controlMessages: { handle: (userId: string, message: ControlMessage) => void };
  metrics: RealtimeMetrics;
  log: Log;
  /** Compares a topic's position with the source of truth. */
  antiEntropy: { suspect: (topic: Topic) => void };
};

/** Well above the time of an entry from its commit to the live channel. */
const PUBLISH_LAG_MS = 100;

/** How far Matrix has followed a room. */
const sent = z.object({ type: z.literal("sent"), number: z.int() });

/** Delivers a message of a live channel to the subscribers of its topic. */
export function deliver(deps: DeliverDeps, liveChannel: string, text: string): void {
  const topic = deps.hub.topics.get(liveChannel);
  if (!topic) return;
  if (topic.ref.kind === "room") deliverToRoom(deps, topic, text);
  else deliverToUser(deps, topic, text);
}

function deliverToRoom(deps: DeliverDeps, topic: Topic, text: string): void {
  const parsed = roomLiveMessage.safeParse(parseJson(text));
  if (!parsed.success) {
    deps.metrics.malformed();
    return;
  }
  const { number, epoch, scrubs, leaver: removedUserId, requestId, data } = parsed.data;
  topic.learnScrubs(epoch, scrubs);
  if (number !== null) deliverEntry(deps, topic, epoch, { number, removedUserId, requestId, data });
  else deliverUnnumbered(deps, topic, parsed.data);
}

/** Delivers an event without a number after the entry it follows, so that a user whom that entry removes does not receive it. */
function deliverUnnumbered(deps: DeliverDeps, topic: Topic, event: RoomLiveMessage): void {
  if (topic.epoch === null) return;
  const { epoch, data } = event;
  const sentUpTo = sent.safeParse(parseJson(data)).data?.number;
  const after = sentUpTo === undefined ? event.after : Math.max(sentUpTo, event.after ?? 0);
  const publish = () => {
    const sockets =
      sentUpTo === undefined
        ? topic.deliverUnnumbered(data)
        : topic.deliverSent({ epoch, number: topic.position, sentUpTo });
    logDelivery(deps, topic, event, sockets);
  };
  if (after === undefined) publish();
  else if (epoch !== topic.epoch) deps.antiEntropy.suspect(topic);
  else {
    topic.deliverAfter(after, publish);
    if (after > topic.position) awaitEntry(deps, topic, after);
  }
}

/** Reads an entry from the stream that does not arrive by itself. Most often it is being published at this moment. */
function awaitEntry({ catchUp }: DeliverDeps, topic: Topic, number: number): void {
  const { epoch } = topic;
  setTimeout(() => {
    if (topic.epoch === epoch && topic.position < number) catchUp.start(topic, number);
  }, PUBLISH_LAG_MS).unref();
}

function deliverToUser(deps: DeliverDeps, topic: Topic, text: string): void {
  const parsed = userLiveMessage.safeParse(parseJson(text));
  if (!parsed.success) deps.metrics.malformed();
  else if (parsed.data.kind === "hint") {
    const { offset, epoch, data } = parsed.data;
    deliverEntry(deps, topic, epoch, { number: offset, removedUserId: null, requestId: null, data });
  } else deps.controlMessages.handle(topic.ref.id, parsed.data);
}

/** Delivers the next entry. Drops one that was delivered before. Fills a gap first. */
function deliverEntry(deps: DeliverDeps, topic: Topic, epoch: string, entry: Entry): void {
  if (topic.epoch === null) topic.seen = Math.max(topic.seen, entry.number);
  else if (epoch !== topic.epoch) deps.antiEntropy.suspect(topic);
  else if (entry.number <= topic.position) return;
  else if (topic.mode !== "following" || entry.number > topic.position + 1)
    deps.catchUp.start(topic, entry.number);
  else logDelivery(deps, topic, entry, topic.deliver(entry));
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
