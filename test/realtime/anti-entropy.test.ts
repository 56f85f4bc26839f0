import { expect, test } from "@jest/globals";
import { AntiEntropy, type AntiEntropyDeps } from "../../realtime/channels/anti-entropy.ts";
import { Topic } from "../../realtime/channels/topic.ts";
import { waitFor } from "../support/centrifuge.ts";

const NEVER_MS = 3_600_000;

/** A check of one room whose top is 3, while 1 was delivered; `fail` decides which read of a server fails. */
function openCheck(fail: (look: "tops" | "catch up", time: number) => boolean) {
  const topic = new Topic({ kind: "room", id: "r", channel: "group:r" });
  topic.open({ epoch: "e", number: 1 });
  const times = { tops: 0, "catch up": 0 };
  const look = (name: keyof typeof times) =>
    fail(name, ++times[name]) ? Promise.reject(new Error(`${name}: Redis is away`)) : Promise.resolve();
  const deps: AntiEntropyDeps = {
    hub: {
      topics: new Map([[topic.liveChannel, topic]]),
      users: new Map(),
      has: () => true,
      invalidate: () => undefined,
    },
    streams: {
      tops: async (refs) => {
        if (refs.length > 0) await look("tops");
        return new Map([[topic.liveChannel, { epoch: "e", number: 3 }]]);
      },
    },
    catchUp: {
      run: async (caught, number) => {
        await look("catch up");
        caught.position = number;
      },
    },
    controlMessages: { review: () => Promise.resolve() },
    policy: { userAccessOf: () => Promise.resolve(new Map()) },
    log: { warn: () => undefined },
  };
  return { topic, check: new AntiEntropy(deps, NEVER_MS, 20), times };
}

test.each(["tops", "catch up"] as const)(
  "a check that fails (%s) is repeated soon, before the next regular one",
  async (failing) => {
    const { topic, check } = openCheck((look, time) => look === failing && time <= 2);
    check.request();
    await waitFor(() => topic.position === 3);
    check.stop();
  },
);

test("a check that succeeds is not repeated, and none starts after the stop", async () => {
  const { topic, check, times } = openCheck(() => false);
  check.request();
  await waitFor(() => topic.position === 3);
  await new Promise((resolve) => setTimeout(resolve, 60));
  expect(times.tops).toBe(1);

  const stopped = openCheck(() => true);
  stopped.check.request();
  await waitFor(() => stopped.times.tops === 1);
  stopped.check.stop();
  check.stop();
  await new Promise((resolve) => setTimeout(resolve, 60));
  expect(stopped.times.tops).toBe(1);
});
