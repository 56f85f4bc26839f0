import { expect, test } from "@jest/globals";
import { CatchUp } from "../../realtime/channels/catch-up.ts";
import type { ReadRequest } from "../../realtime/channels/streams.ts";
import type { Entry } from "../../realtime/channels/topic-ref.ts";
import { Topic, type Subscriber } from "../../realtime/channels/topic.ts";
import { RealtimeMetrics } from "../../realtime/metrics.ts";
import { createLog } from "../../shared/platform/log.ts";
import { createMetrics } from "../../shared/platform/metrics.ts";

const UNREAD_BYTES = 1_000;

function openTopic(name: string): Topic {
  const topic = new Topic({ kind: "room", id: name, channel: `group:${name}` });
  topic.open({ epoch: "e", number: 0 });
  return topic;
}

function entriesOf({ after, count }: ReadRequest, last: number, data: string): Entry[] {
  return Array.from({ length: Math.max(0, Math.min(count, last - after)) }, (_, n) => ({
    number: after + n + 1,
    removedUserId: null,
    requestId: null,
    data,
  }));
}

/** A catch-up over timelines that end at `last`; `onRead` receives each round. */
function openCatchUp({
  last,
  data = '{"id":"x"}',
  onRead = () => Promise.resolve(),
}: {
  last: number;
  data?: string;
  onRead?: (requests: readonly ReadRequest[]) => Promise<void>;
}) {
  const invalidated: Topic[] = [];
  const catchUp = new CatchUp({
    hub: {
      has: () => true,
      invalidate: (topic, top) => {
        invalidated.push(topic);
        topic.open(top);
        topic.seen = 0;
      },
    },
    streams: {
      read: async (requests) => {
        if (requests.length > 0) await onRead(requests);
        return requests.map((request) => entriesOf(request, last, data));
      },
      tops: async (refs) =>
        new Map(refs.map((ref) => [new Topic(ref).liveChannel, { epoch: "e", number: last }])),
    },
    metrics: new RealtimeMetrics(createMetrics()),
    log: createLog({ level: "silent", tier: "test" }),
    unreadBytes: UNREAD_BYTES,
  });
  return { catchUp, invalidated };
}

test("topics that are behind have their pages by turns, and few reads run at once", async () => {
  let running = 0;
  let most = 0;
  const turns: string[] = [];
  const { catchUp } = openCatchUp({
    last: 3_000,
    onRead: async (requests) => {
      most = Math.max(most, ++running);
      turns.push(...requests.map(({ ref }) => ref.id));
      expect(requests.reduce((sum, { count }) => sum + count, 0)).toBeLessThanOrEqual(512);
      await new Promise((resolve) => setImmediate(resolve));
      running -= 1;
    },
  });
  const long = openTopic("long");
  const short = Array.from({ length: 20 }, (_, n) => openTopic(`short-${n}`));
  const ended: string[] = [];
  await Promise.all([
    catchUp.run(long, 3_000).then(() => ended.push("long")),
    ...short.map((topic) => catchUp.run(topic, 2).then(() => ended.push("short"))),
  ]);
  expect(ended.at(-1)).toBe("long");
  expect([long, ...short].map(({ position, mode }) => [position, mode])).toEqual([
    [3_000, "following"],
    ...short.map(() => [2, "following"]),
  ]);
  expect(most).toBeLessThanOrEqual(2);
  // The first page of every short topic comes before the fourth of the long one.
  expect(turns.filter((id) => id !== "long")).toHaveLength(20);
  const fourth = turns.map((id, index) => (id === "long" ? index : -1)).filter((index) => index >= 0)[3];
  expect(turns.lastIndexOf("short-19")).toBeLessThan(fourth ?? 0);
});

/** A subscriber that reads everything when its queue is looked at and it `reads`, and else nothing. */
function createSubscriber({ reads }: { reads: boolean }) {
  const state = { received: 0, most: 0, waiting: 0 };
  const subscriber: Subscriber = {
    userId: "u",
    get queueBytes() {
      const { waiting } = state;
      if (reads) state.waiting = 0;
      return waiting;
    },
    send: (frame) => {
      state.received += 1;
      state.waiting += frame.kind === "publication" ? frame.data.length : 0;
      state.most = Math.max(state.most, state.waiting);
    },
    close: () => undefined,
    detach: () => undefined,
    isServerSide: () => true,
  };
  return { subscriber, state };
}

test("a topic delivers a few large entries at once, and waits until its subscribers have read", async () => {
  const { catchUp } = openCatchUp({ last: 1_000, data: JSON.stringify({ id: "x".repeat(90) }) });
  const topic = openTopic("slow");
  const { subscriber, state } = createSubscriber({ reads: true });
  topic.subscribers.add(subscriber);
  await catchUp.run(topic, 1_000);
  expect(state.received).toBe(1_000);
  expect(state.most).toBeLessThanOrEqual(2 * UNREAD_BYTES + 100);
});

test("a subscriber that does not read holds the others of its room up for some seconds only", async () => {
  const { catchUp } = openCatchUp({ last: 1_000 });
  const topic = openTopic("stuck");
  const { subscriber } = createSubscriber({ reads: false });
  topic.subscribers.add(subscriber);
  const startedAtMs = performance.now();
  await catchUp.run(topic, 1_000);
  expect(topic.position).toBe(1_000);
  expect(performance.now() - startedAtMs).toBeGreaterThan(1_500);
});

test("an entry that was announced and does not exist ends nothing", async () => {
  const { catchUp, invalidated } = openCatchUp({ last: 5 });
  const topic = openTopic("announced");
  await catchUp.run(topic, 9);
  expect([topic.position, topic.seen, topic.mode]).toEqual([5, 5, "following"]);
  expect(invalidated).toEqual([]);
});

test("a read that fails ends the run with its error, and the next run goes on from the same position", async () => {
  let reads = 0;
  const { catchUp } = openCatchUp({
    last: 200,
    onRead: () => (++reads === 2 ? Promise.reject(new Error("Redis is away")) : Promise.resolve()),
  });
  const topic = openTopic("failing");
  await expect(catchUp.run(topic, 200)).rejects.toThrow("Redis is away");
  expect([topic.position, topic.mode]).toEqual([100, "following"]);
  await catchUp.run(topic, 200);
  expect(topic.position).toBe(200);
});
