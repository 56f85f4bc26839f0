import { expect, test } from "@jest/globals";
import { createArrivals } from "../../bench/burst/arrivals.ts";
import { readLine, textOf } from "../../bench/burst/lines.ts";

test("a message has arrived when the last of the sockets has it", () => {
  const arrivals = createArrivals(2, 2);
  arrivals.add(0, { offset: 7, index: 0, atMs: 10 });
  arrivals.add(0, { offset: 8, index: 1, atMs: 20 });
  expect(arrivals.numbered()).toBe(0);
  arrivals.add(1, { offset: 7, index: 0, atMs: 30 });
  expect(arrivals.numbered()).toBe(1);
  expect(arrivals.counts()).toEqual({
    numberedAtMs: [30, null],
    lost: 1,
    doubled: 0,
    reordered: 0,
  });
});

test("a socket's entry that comes twice is doubled, one that does not follow the last is reordered", () => {
  const arrivals = createArrivals(1, 3);
  arrivals.add(0, { offset: 7, index: 0, atMs: 10 });
  arrivals.add(0, { offset: 7, index: 0, atMs: 11 });
  arrivals.add(0, { offset: 8, index: null, atMs: 12 });
  arrivals.add(0, { offset: 10, index: 2, atMs: 13 });
  arrivals.add(0, { offset: 9, index: 1, atMs: 14 });
  expect(arrivals.counts()).toMatchObject({ lost: 0, doubled: 1, reordered: 2 });
});

test("a line of a socket is read for one room, with the index that the message's text contains", () => {
  const line = (channel: string, data: Record<string, unknown>, offset?: number) =>
    JSON.stringify({ push: { channel, pub: { data, offset } } });
  const text = textOf(41);
  const read = (...args: Parameters<typeof line>) => readLine(line(...args), "event:burst");
  expect(read("event:burst", { type: "message.created", text }, 9)).toEqual({
    offset: 9,
    index: 41,
  });
  expect(read("event:burst", { type: "member.left" }, 10)).toEqual({
    offset: 10,
    index: null,
  });
  expect(read("event:burst", { type: "sent", number: 9 })).toBeNull();
  expect(read("event:other", { type: "message.created", text }, 9)).toBeNull();
});
