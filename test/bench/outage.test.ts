import { expect, test } from "@jest/globals";
import { countMissing } from "../../bench/outage/history.ts";
import { judgeSockets } from "../../bench/outage/judge.ts";

const room = { key: "group:a", slug: "a", path: "/v1/rooms/group/a", startNumber: 7 };
const accepted = [8, 9, 10].map((number) => ({
  id: `m${String(number)}`,
  room: room.key,
  number,
  text: "",
  askedAtMs: 0,
  acceptedAtMs: 1,
}));

/** A socket that subscribed after this number and received messages, each as `[id's number, number in the stream]`. */
function socketWith(offset: number, received: [number, number][]) {
  return {
    subscribed: [{ atMs: 0, channel: room.key, offset, recovered: false }],
    publications: received.map(([id, number]) => ({
      ...{ atMs: 0, channel: room.key, type: "message.created", text: "", sender: "", data: {} },
      ...{ id: `m${String(id)}`, offset: number, number },
    })),
  };
}
const items = (numbers: number[]) => numbers.map((number) => ({ id: `m${String(number)}`, number }));

test("a socket lacks nothing of what came before its first subscription", () => {
  const sockets = [
    socketWith(7, [
      [8, 8],
      [9, 9],
      [10, 10],
    ]),
    socketWith(9, [[10, 10]]),
  ];
  expect(judgeSockets(accepted, sockets, [room])).toEqual({
    accepted: 3,
    delivered: 3,
    lost: 0,
    doubled: 0,
    reordered: 0,
  });
});

test("a message with another number than the answer's is lost; doubled and reordered ones count", () => {
  const sockets = [
    socketWith(7, [
      [9, 9],
      [9, 9],
      [8, 8],
      [10, 11],
    ]),
  ];
  expect(judgeSockets(accepted, sockets, [room])).toEqual({
    accepted: 3,
    delivered: 2,
    lost: 1,
    doubled: 1,
    reordered: 1,
  });
});

test("a page lacks an accepted message, and a number that it jumps over", () => {
  expect(countMissing(items([5, 7, 8, 9, 10]), accepted, room.startNumber)).toBe(0);
  expect(countMissing(items([8, 9]), accepted, room.startNumber)).toBe(1);
  expect(countMissing(items([9, 10]), accepted, room.startNumber)).toBe(0);
  expect(countMissing(items([8, 9, 10, 12]), accepted, room.startNumber)).toBe(1);
  expect(countMissing(items([8, 10]), accepted.slice(0, 1), room.startNumber)).toBe(1);
});

test("an empty page lacks everything that was accepted", () => {
  expect(countMissing([], accepted, room.startNumber)).toBe(3);
});
