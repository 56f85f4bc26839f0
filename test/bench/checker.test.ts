import { expect, test } from "@jest/globals";
import { percentile } from "../../bench/percentile.ts";
import { judge, type Accepted } from "../../bench/scenario/checker.ts";

const accepted: Accepted[] = ["a1", "a2", "b1", "a3"].map((id) => ({
  id,
  room: `group:${id.charAt(0)}`,
  askedAtMs: 0,
  acceptedAtMs: 1,
}));

/** What a socket heard: ids, which begin with their room's name. */
function hearing(ids: string[], rooms = ["group:a", "group:b"]) {
  return { name: "ada", rooms, heard: ids.map((id) => ({ id, channel: `group:${id.charAt(0)}` })) };
}

const WHOLE = { accepted: 4, delivered: 4, lost: 0, doubled: 0, reordered: 0 };

test("everything heard once and in its room's order is kept, however the rooms are mixed", () => {
  expect(judge(accepted, [hearing(["b1", "a1", "a2", "a3"]), hearing(["a1", "a2", "a3", "b1"])])).toEqual(
    WHOLE,
  );
});

test("what one of two sockets did not hear is lost once, and not delivered", () => {
  expect(judge(accepted, [hearing(["a1", "a2", "b1", "a3"]), hearing(["a1", "b1", "a3"])])).toEqual({
    ...WHOLE,
    delivered: 3,
    lost: 1,
  });
});

test("what is heard twice is doubled, and in its place all the same", () => {
  expect(judge(accepted, [hearing(["a1", "a2", "a2", "b1", "a3"])])).toEqual({ ...WHOLE, doubled: 1 });
});

test("what is heard before one that was accepted earlier is reordered", () => {
  expect(judge(accepted, [hearing(["a2", "a1", "b1", "a3"])])).toEqual({ ...WHOLE, reordered: 1 });
});

test("nobody must hear a room that they are not in, and what was never accepted counts for nothing", () => {
  expect(judge(accepted, [hearing(["a1", "a2", "a3", "a9"], ["group:a"])])).toEqual(WHOLE);
});

test("a share of a list is by nearest rank", () => {
  expect([percentile([], 0.5), percentile([3, 1, 2], 0.5), percentile([3, 1, 2], 0.99)]).toEqual([
    null,
    2,
    3,
  ]);
});
