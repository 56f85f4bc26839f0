import { roomLiveMessage, userLiveMessage, type RoomLiveMessage } from "../../shared/contract/frames.ts";
import type { Log } from "../../shared/platform/log.ts";
import type { CatchUp } from "./catch-up.ts";
import type { Connection } from "../session/connection.ts";
import type { Figures } from "../metrics.ts";
import type { Hub } from "./hub.ts";
import type { Orders } from "../policy/control-messages.ts";
import { countTold } from "./delivery-log.ts";
import type { Entry, Topic } from "./topic.ts";

export type DeliverDeps = {
  hub: Hub<Connection>;
  catchUp: CatchUp;
  orders: Pick<Orders, "take">;
  figures: Figures;
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
    deps.figures.malformed();
    return;
  }
  const { number, epoch, leaver, requestId, data } = parsed.data;
  if (number !== null) take(deps, topic, epoch, { number, leaver, requestId, data });
  else takeLoose(deps, topic, parsed.data);
}

/**
 * What has no number is told behind what was in the timeline before it: somebody who was removed there hears none of it.
 */
function takeLoose(deps: DeliverDeps, topic: Topic, loose: RoomLiveMessage): void {
  if (topic.epoch === null) return;
  const { after, epoch, data } = loose;
  const tell = () => {
    countTold(deps, topic, loose, topic.deliverLoose(data));
  };
  if (after === undefined) tell();
  else if (epoch !== topic.epoch) deps.suspect(topic);
  else {
    topic.tellAfter(after, tell);
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
  if (!parsed.success) deps.figures.malformed();
  else if (parsed.data.kind !== "hint") deps.orders.take(topic.ref.id, parsed.data);
  else
    take(deps, topic, parsed.data.epoch, {
      number: parsed.data.offset,
      leaver: null,
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
  else countTold(deps, topic, entry, topic.deliver(entry));
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
