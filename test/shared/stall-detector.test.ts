import { expect, test } from "@jest/globals";
import { findStalled, updateSamples, type Samples } from "../../shared/platform/stall/stall-detector.ts";

const EVERY_MS = 10;

/** Takes one sample per token: those of each name, in order. An empty token leaves the name out of that sample. */
function sampleAll(tokens: Record<string, string[]>): Samples {
  const count = Math.max(...Object.values(tokens).map((list) => list.length));
  let samples: Samples = new Map();
  for (let index = 0; index < count; index++) {
    const sample = Object.entries(tokens).map(([name, list]) => [name, list[index] ?? ""] as const);
    samples = updateSamples(samples, new Map(sample.filter(([, token]) => token !== "")), EVERY_MS);
  }
  return samples;
}

test("a thing without progress for exactly the limit is stalled, and one sample earlier it is not", () => {
  expect(findStalled(sampleAll({ a: ["1", "1", "1"] }), 30)).toBeNull();
  expect(findStalled(sampleAll({ a: ["1", "1", "1", "1"] }), 30)).toBe("a");
});

test("progress resets the time", () => {
  const samples = sampleAll({ a: ["1", "1", "1", "2", "2"] });
  expect(samples.get("a")).toEqual({ token: "2", unchangedMs: 10 });
});

test("a thing that is absent from one sample starts again, even with its old token", () => {
  expect(sampleAll({ a: ["1", "1", "1", "", "1"] }).get("a")?.unchangedMs).toBe(0);
});

test("a thing with progress does not hide a stalled one", () => {
  const samples = sampleAll({ moving: ["1", "2", "3", "4"], still: ["x", "x", "x", "x"] });
  expect(findStalled(samples, 30)).toBe("still");
});

test("without watched things nothing is stalled", () => {
  expect(findStalled(updateSamples(new Map(), new Map(), EVERY_MS), 0)).toBeNull();
});
