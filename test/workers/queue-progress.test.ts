import { expect, test } from "@jest/globals";
import { queueProgressToken, type QueueSample } from "../../workers/runtime/queue-progress.ts";

const stuck: QueueSample = { nextJobId: "7", isHeldBack: false, places: 2, running: 1, taken: 40 };

test("a job that waits while a place is free must be taken up", () => {
  expect(queueProgressToken(stuck)).not.toBeNull();
  expect(queueProgressToken({ ...stuck })).toBe(queueProgressToken(stuck));
});

test.each<[string, Partial<QueueSample>]>([
  ["no job waits", { nextJobId: null }],
  ["every place is taken", { running: 2 }],
  ["an operator holds the queue back", { isHeldBack: true }],
])("nothing must be taken up when %s", (_, sight) => {
  expect(queueProgressToken({ ...stuck, ...sight })).toBeNull();
});

test("an idle process beside one that takes every job up does not stand still: another job is next each time", () => {
  expect(queueProgressToken({ ...stuck, nextJobId: "8" })).not.toBe(queueProgressToken(stuck));
});

test("a process that takes jobs up does not stand still though the same one is always next", () => {
  expect(queueProgressToken({ ...stuck, taken: 41 })).not.toBe(queueProgressToken(stuck));
});
