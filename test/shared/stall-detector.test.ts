import { expect, test } from "@jest/globals";
import { findStalled, updateSamples, type Samples } from "../../shared/platform/stall/stall-detector.ts";

const EVERY_MS = 10;

/** Looks again and again at what moves as the marks of `names` say, one text a look; an empty one is not seen. */
function lookOften(names: Record<string, string[]>): Samples {
  const looks = Math.max(...Object.values(names).map((marks) => marks.length));
  let sights: Samples = new Map();
  for (let look = 0; look < looks; look++) {
    const seen = Object.entries(names).map(([name, marks]) => [name, marks[look] ?? ""] as const);
    sights = updateSamples(sights, new Map(seen.filter(([, mark]) => mark !== "")), EVERY_MS);
  }
  return sights;
}

test("what stands still for exactly the limit is found, and not a look earlier", () => {
  expect(findStalled(lookOften({ a: ["1", "1", "1"] }), 30)).toBeNull();
  expect(findStalled(lookOften({ a: ["1", "1", "1", "1"] }), 30)).toBe("a");
});

test("one move begins the time anew", () => {
  const sights = lookOften({ a: ["1", "1", "1", "2", "2"] });
  expect(sights.get("a")).toEqual({ mark: "2", stillMs: 10 });
});

test("what is away for one look begins anew when it is back as it was", () => {
  expect(lookOften({ a: ["1", "1", "1", "", "1"] }).get("a")?.stillMs).toBe(0);
});

test("what moves does not hide what stands still beside it", () => {
  const sights = lookOften({ moving: ["1", "2", "3", "4"], still: ["x", "x", "x", "x"] });
  expect(findStalled(sights, 30)).toBe("still");
});

test("nothing that should move is nothing that stands still", () => {
  expect(findStalled(updateSamples(new Map(), new Map(), EVERY_MS), 0)).toBeNull();
});
