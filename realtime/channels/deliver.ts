import {
  roomLiveMessage,
  userLiveMessage,
  type RoomLiveMessage,
} from "../../shared/timeline/live-messages.ts";
import type { Log } from "../../shared/platform/log.ts";
import type { CatchUp } from "./catch-up.ts";
import type { Connection } from "../session/connection.ts";
import type { RealtimeMetrics } from "../metrics.ts";
import type { Hub } from "./hub.ts";
import type { ControlMessages } from "../policy/control-messages.ts";
import { logDelivery } from "./delivery-log.ts";
import type { Entry, Topic } from "./topic.ts";

export type DeliverDeps = {
  hub: Hub<Connection>;
  catchUp: CatchUp;
  controlMessages: Pick<ControlMessages, "take">;
  metrics: RealtimeMetrics;
  log: Log;
  /** Has a topic's true position looked up. */
  suspect: (topic: Topic) => void;
};

/** Well above what an entry takes from its commit to the live channel. */
const COMING_MS = 100;

/** Takes what a live channel brought to the subscribers of its topic. */
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
  const { number, epoch, leaver: removedUserId, requestId, data } = parsed.data;
  if (number !== null) take(deps, topic, epoch, { number, removedUserId, requestId, data });
  else takeUnnumbered(deps, topic, parsed.data);
}

/**
 * What has no number is told behind what was in the timeline before it: somebody who was removed there hears none of it.
 */
function takeUnnumbered(deps: DeliverDeps, topic: Topic, unnumbered: RoomLiveMessage): void {
  if (topic.epoch === null) return;
  const { after, epoch, data } = unnumbered;
  const tell = () => {
    logDelivery(deps, topic, unnumbered, topic.deliverUnnumbered(data));
  };
  if (after === undefined) tell();
  else if (epoch !== topic.epoch) deps.suspect(topic);
  else {
    topic.deliverAfter(after, tell);
    if (after > topic.position) awaitEntry(deps, topic, after);
  }
}

/**
 * Catches up with an entry that is in the timeline and was not heard of. Most often it is being published at this moment:
 * it is given time to come by itself.
 */
function awaitEntry({ catchUp }: DeliverDeps, topic: Topic, number: number): void {
  const { epoch } = topic;
  setTimeout(() => {
    if (topic.epoch === epoch && topic.position < number) catchUp.start(topic, number);
  }, COMING_MS).unref();
}

function deliverToUser(deps: DeliverDeps, topic: Topic, text: string): void {
  const parsed = userLiveMessage.safeParse(parseJson(text));
  if (!parsed.success) deps.metrics.malformed();
  else if (parsed.data.kind !== "hint") deps.controlMessages.take(topic.ref.id, parsed.data);
  else
    take(deps, topic, parsed.data.epoch, {
      number: parsed.data.offset,
      removedUserId: null,
      requestId: null,
      data: parsed.data.data,
    });
}

/** The next is delivered, what was had already is not, and a hole is filled first. */
function take(deps: DeliverDeps, topic: Topic, epoch: string, entry: Entry): void {
  if (topic.epoch === null) topic.seen = Math.max(topic.seen, entry.number);
  else if (epoch !== topic.epoch) deps.suspect(topic);
  else if (entry.number <= topic.position) return;
  else if (topic.catching || entry.number > topic.position + 1) deps.catchUp.start(topic, entry.number);
  else logDelivery(deps, topic, entry, topic.deliver(entry));
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
