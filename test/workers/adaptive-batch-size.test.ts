import { expect, test } from "@jest/globals";
import { createAdaptiveBatchSize } from "../../workers/outbound/adaptive-batch-size.ts";

test("a process that has sent nothing yet claims few messages", () => {
  expect(createAdaptiveBatchSize().batchMessages()).toBe(4);
});

test("a homeserver that is fast gets large batches, up to a hundred messages", () => {
  const batchSize = createAdaptiveBatchSize();
  for (let round = 0; round < 30; round++) batchSize.addSample(100, 10);
  expect(batchSize.batchMessages()).toBe(100);
});

test("batches become small again when the homeserver becomes slow", () => {
  const batchSize = createAdaptiveBatchSize();
  for (let round = 0; round < 30; round++) batchSize.addSample(100, 10);
  for (let round = 0; round < 3; round++) batchSize.addSample(4, 4_000);
  expect(batchSize.batchMessages()).toBe(4);
});

test("a batch in which nothing was sent does not change the size", () => {
  const batchSize = createAdaptiveBatchSize();
  const before = batchSize.batchMessages();
  batchSize.addSample(0, 30_000);
  expect(batchSize.batchMessages()).toBe(before);
});
