import { expect, test } from "@jest/globals";
import { Topic } from "../../realtime/channels/topic.ts";
import type { Entry } from "../../realtime/channels/topic-ref.ts";

const entry = (number: number): Entry => ({ number, removedUserId: null, requestId: null, data: "{}" });

function openTopic(): Topic {
  const topic = new Topic({ kind: "room", id: "r", channel: "group:r" });
  topic.open({ epoch: "e", number: 3 });
  return topic;
}

test("an unnumbered event is delivered at once, or right after the entry that it follows", () => {
  const topic = openTopic();
  const delivered: string[] = [];
  topic.deliverAfter(5, () => delivered.push(`of 5 at ${topic.position}`));
  topic.deliverAfter(3, () => delivered.push(`of 3 at ${topic.position}`));
  for (const number of [4, 5, 6]) topic.deliver(entry(number));
  expect(delivered).toEqual(["of 3 at 3", "of 5 at 5"]);
});

test("at most a hundred unnumbered events wait for an entry, and a new position drops them", () => {
  const topic = openTopic();
  let delivered = 0;
  for (let n = 0; n < 150; n++) topic.deliverAfter(4, () => delivered++);
  topic.deliver(entry(4));
  expect(delivered).toBe(100);
  topic.deliverAfter(6, () => delivered++);
  topic.open({ epoch: "e", number: 5 });
  topic.deliver(entry(6));
  expect(delivered).toBe(100);
});
