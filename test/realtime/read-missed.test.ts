import { describe, expect, test } from "@jest/globals";
import { PendingSubscription } from "../../realtime/channels/pending-subscription.ts";
import type { ReadRequest } from "../../realtime/channels/streams.ts";
import type { Entry } from "../../realtime/channels/topic-ref.ts";
import { Topic } from "../../realtime/channels/topic.ts";
import { LIMITS } from "../../realtime/limits.ts";
import { decidePageEntries, readMissed } from "../../realtime/session/read-missed.ts";

const limits = { ...LIMITS, recoveredEntries: 1_000, recoveredBytes: 100_000 };

/** A subscription of a client that missed the last `missed` entries of a room. */
function createPending(name: string, missed: number): PendingSubscription {
  const topic = new Topic({ kind: "room", id: name, channel: `group:${name}` });
  topic.open({ epoch: "e", number: 5_000 });
  return new PendingSubscription(topic, "u", { epoch: "e", offset: 5_000 - missed }, 1_000);
}

/** Streams whose entries have `bytes` each, and what was read of them. */
function createStreams(bytes: number) {
  const read: Record<string, number> = {};
  const rounds: number[] = [];
  return {
    read,
    rounds,
    streams: {
      read: async (requests: readonly ReadRequest[]): Promise<Entry[][]> => {
        rounds.push(requests.reduce((sum, { count }) => sum + count, 0));
        return requests.map(({ ref, after, count }) => {
          read[ref.id] = (read[ref.id] ?? 0) + count;
          return Array.from({ length: count }, (_, n) => ({
            number: after + n + 1,
            removedUserId: null,
            requestId: null,
            data: "x".repeat(bytes),
          }));
        });
      },
    },
  };
}

describe("reading what clients missed", () => {
  test("a thousand small entries are read in a few pages, and those of many rooms in one", async () => {
    const { streams, rounds } = createStreams(50);
    const one = createPending("one", 1_000);
    const found = await readMissed({ streams, limits }, [one]);
    expect(found.get(one)?.map(({ number }) => number)).toEqual(
      Array.from({ length: 1_000 }, (_, n) => 4_001 + n),
    );
    expect(rounds).toEqual([128, 512, 360]);
    rounds.length = 0;
    const many = Array.from({ length: 60 }, (_, n) => createPending(`r${n}`, 2));
    expect([...(await readMissed({ streams, limits }, many)).values()].flat()).toHaveLength(120);
    expect(rounds).toEqual([120]);
  });

  test("a room whose entries exceed the bytes is not read to its end, and the rooms after it are read", async () => {
    const { streams, read } = createStreams(2_000);
    const [large, small] = [createPending("large", 900), createPending("small", 10)];
    const found = await readMissed({ streams, limits }, [large, small]);
    expect(found.has(large)).toBe(false);
    expect(found.get(small)).toHaveLength(10);
    expect(read).toEqual({ large: 128, small: 10 });
  });

  test("rooms share the limit of entries in their order", async () => {
    const { streams, read } = createStreams(1);
    const pendings = [createPending("a", 700), createPending("b", 400), createPending("c", 300)];
    await readMissed({ streams, limits }, pendings);
    expect(read).toEqual({ a: 700, c: 300 });
  });

  test("a page has about as many entries as fit in the bytes that are left", () => {
    expect(decidePageEntries({ entries: 0, bytes: 0 }, 100_000)).toBe(128);
    expect(decidePageEntries({ entries: 100, bytes: 100_000 }, 30_000)).toBe(31);
    expect(decidePageEntries({ entries: 100, bytes: 1_000 }, 100_000)).toBe(512);
  });
});
