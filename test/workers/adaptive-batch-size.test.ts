import { expect, test } from "@jest/globals";
import { createAdaptiveBatchSize } from "../../workers/outbound/adaptive-batch-size.ts";

test("a process that has sent nothing yet claims few messages", () => {
  expect(createAdaptiveBatchSize().batchMessages()).toBe(4);
});

test("a homeserver that is fast gets large batches, up to a hundred messages", () => {
  const pace = createAdaptiveBatchSize();
  for (let batch = 0; batch < 30; batch++) pace.note(100, 10);
  expect(pace.batchMessages()).toBe(100);
});

test("batches become small again when the homeserver becomes slow", () => {
  const pace = createAdaptiveBatchSize();
  for (let batch = 0; batch < 30; batch++) pace.note(100, 10);
  for (let batch = 0; batch < 3; batch++) pace.note(4, 4_000);
  expect(pace.batchMessages()).toBe(4);
});

test("a batch of which nothing was sent tells nothing of the pace", () => {
  const pace = createAdaptiveBatchSize();
  const before = pace.batchMessages();
  pace.note(0, 30_000);
  expect(pace.batchMessages()).toBe(before);
});
