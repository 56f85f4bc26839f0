import { expect, test } from "@jest/globals";
import { Topic } from "../../realtime/channels/topic.ts";
import type { Entry } from "../../realtime/channels/topic-ref.ts";

const entry = (number: number): Entry => ({ number, removedUserId: null, requestId: null, data: "{}" });

function openTopic(): Topic {
  const topic = new Topic({ kind: "room", id: "r", channel: "group:r" });
  topic.open({ epoch: "e", number: 3 });
  return topic;
}

test("what has no number is told at once, or right behind the entry that it waits for", () => {
  const topic = openTopic();
  const told: string[] = [];
  topic.deliverAfter(5, () => told.push(`of 5 at ${topic.position}`));
  topic.deliverAfter(3, () => told.push(`of 3 at ${topic.position}`));
  for (const number of [4, 5, 6]) topic.deliver(entry(number));
  expect(told).toEqual(["of 3 at 3", "of 5 at 5"]);
});

test("no more than a hundred wait, and none over a loss of place", () => {
  const topic = openTopic();
  let told = 0;
  for (let n = 0; n < 150; n++) topic.deliverAfter(4, () => told++);
  topic.deliver(entry(4));
  expect(told).toBe(100);
  topic.deliverAfter(6, () => told++);
  topic.open({ epoch: "e", number: 5 });
  topic.deliver(entry(6));
  expect(told).toBe(100);
});
