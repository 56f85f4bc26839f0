import { expect, test } from "@jest/globals";
import { percentile } from "../../bench/percentile.ts";
import { checkDelivery, type AcceptedMessage } from "../../bench/scenario/checker.ts";

const accepted: AcceptedMessage[] = ["a1", "a2", "b1", "a3"].map((id) => ({
  id,
  room: `group:${id.charAt(0)}`,
  askedAtMs: 0,
  acceptedAtMs: 1,
}));

/** A socket that received these ids. An id begins with its room's name. */
function socketWith(ids: string[], rooms = ["group:a", "group:b"]) {
  return { rooms, messages: ids.map((id) => ({ id, channel: `group:${id.charAt(0)}` })) };
}

const ALL_KEPT = { accepted: 4, delivered: 4, lost: 0, doubled: 0, reordered: 0 };

test("messages received once and in their room's order are kept, in any mix of rooms", () => {
  expect(
    checkDelivery(accepted, [socketWith(["b1", "a1", "a2", "a3"]), socketWith(["a1", "a2", "a3", "b1"])]),
  ).toEqual(ALL_KEPT);
});

test("a message that one of two sockets did not receive is lost once, and not delivered", () => {
  expect(
    checkDelivery(accepted, [socketWith(["a1", "a2", "b1", "a3"]), socketWith(["a1", "b1", "a3"])]),
  ).toEqual({ ...ALL_KEPT, delivered: 3, lost: 1 });
});

test("a message received twice is doubled and not reordered", () => {
  expect(checkDelivery(accepted, [socketWith(["a1", "a2", "a2", "b1", "a3"])])).toEqual({
    ...ALL_KEPT,
    doubled: 1,
  });
});

test("a message received before an earlier one is reordered", () => {
  expect(checkDelivery(accepted, [socketWith(["a2", "a1", "b1", "a3"])])).toEqual({
    ...ALL_KEPT,
    reordered: 1,
  });
});

test("a socket misses nothing of rooms that its user is not in, and unaccepted messages do not count", () => {
  expect(checkDelivery(accepted, [socketWith(["a1", "a2", "a3", "a9"], ["group:a"])])).toEqual(ALL_KEPT);
});

test("a percentile is the value at the nearest rank", () => {
  expect([percentile([], 0.5), percentile([3, 1, 2], 0.5), percentile([3, 1, 2], 0.99)]).toEqual([
    null,
    2,
    3,
  ]);
});
