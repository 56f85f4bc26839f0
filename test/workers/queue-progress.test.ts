import { expect, test } from "@jest/globals";
import { queueProgressToken, type QueueSample } from "../../workers/runtime/queue-progress.ts";

const stuck: QueueSample = { nextJobId: "7", isHeldBack: false, concurrency: 2, running: 1, started: 40 };

test("a process must start a job that waits while it may run one more", () => {
  expect(queueProgressToken(stuck)).not.toBeNull();
  expect(queueProgressToken({ ...stuck })).toBe(queueProgressToken(stuck));
});

test.each<[string, Partial<QueueSample>]>([
  ["no job waits", { nextJobId: null }],
  ["it runs as many as it may", { running: 2 }],
  ["an operator holds the queue back", { isHeldBack: true }],
])("a process need not start a job when %s", (_, sample) => {
  expect(queueProgressToken({ ...stuck, ...sample })).toBeNull();
});

test("the token of an idle process changes when another process starts the jobs: another job is next each time", () => {
  expect(queueProgressToken({ ...stuck, nextJobId: "8" })).not.toBe(queueProgressToken(stuck));
});

test("the token of a process that starts jobs changes though the same job is always next", () => {
  expect(queueProgressToken({ ...stuck, started: 41 })).not.toBe(queueProgressToken(stuck));
});
