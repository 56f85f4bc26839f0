import { expect, test } from "@jest/globals";
import { decideDue, firstPingAtMs, silentConnections, type Life } from "../../realtime/session/idle.ts";

test("a connection whose last message arrived exactly at the limit is not silent", () => {
  expect(
    silentConnections([{ id: "a", lastReceivedAtMs: 0 }], { nowMs: 60_000, maxSilenceMs: 60_000 }),
  ).toEqual([]);
});

test("a connection whose last message arrived before the limit is silent, even when it received messages since", () => {
  const silent = { id: "a", lastReceivedAtMs: 0, nextPingAtMs: 90_000 };
  const live = { id: "b", lastReceivedAtMs: 1, nextPingAtMs: 0 };
  expect(silentConnections([silent, live], { nowMs: 60_001, maxSilenceMs: 60_000 })).toEqual([silent]);
});

const life: Life = {
  lastReceivedAtMs: 0,
  openedAtMs: 0,
  hasAsked: true,
  expiresAtMs: 100_000,
  nextPingAtMs: 20_000,
};
const limits = { authenticateMs: 10_000, expiredMs: 25_000 };

test("the server pings a connection at the time of its next ping, not before", () => {
  expect(decideDue(life, limits, 19_999)).toBe("nothing");
  expect(decideDue(life, limits, 20_000)).toBe("ping");
});

test("a connection with an expired token stays open for 25 s", () => {
  expect(decideDue({ ...life, nextPingAtMs: 1e9 }, limits, 125_000)).toBe("nothing");
  expect(decideDue({ ...life, nextPingAtMs: 1e9 }, limits, 125_001)).toBe("expired");
});

test("a connection that sends no token stays open for 10 s and is not pinged", () => {
  const unknown = { ...life, hasAsked: false, expiresAtMs: null, nextPingAtMs: 0 };
  expect(decideDue(unknown, limits, 10_000)).toBe("nothing");
  expect(decideDue(unknown, limits, 10_001)).toBe("stale");
});

test("a connection that sent its token and waits for the reply is unanswered, not stale", () => {
  const waiting = { ...life, expiresAtMs: null, nextPingAtMs: 0 };
  expect(decideDue(waiting, limits, 10_000)).toBe("nothing");
  expect(decideDue(waiting, limits, 10_001)).toBe("unanswered");
});

test("the first pings of connections are spread over half an interval", () => {
  expect([0, 0.5, 1].map((chance) => firstPingAtMs(1_000, 25_000, chance))).toEqual([13_500, 19_750, 26_000]);
});
