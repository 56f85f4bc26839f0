import { expect, test } from "@jest/globals";
import { decideDue, firstPingAtMs, silentConnections, type Life } from "../../realtime/session/idle.ts";

test("spares a connection that was heard from exactly at the limit", () => {
  expect(
    silentConnections([{ id: "a", lastReceivedAtMs: 0 }], { nowMs: 60_000, maxSilenceMs: 60_000 }),
  ).toEqual([]);
});

test("finds a connection that was heard from before the limit, whatever was sent to it", () => {
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

test("pings when it is time, not before", () => {
  expect(decideDue(life, limits, 19_999)).toBe("nothing");
  expect(decideDue(life, limits, 20_000)).toBe("ping");
});

test("bears a lapsed token for 25 s", () => {
  expect(decideDue({ ...life, nextPingAtMs: 1e9 }, limits, 125_000)).toBe("nothing");
  expect(decideDue({ ...life, nextPingAtMs: 1e9 }, limits, 125_001)).toBe("expired");
});

test("bears a connection that does not say who it is for 10 s, and does not ping it", () => {
  const unknown = { ...life, hasAsked: false, expiresAtMs: null, nextPingAtMs: 0 };
  expect(decideDue(unknown, limits, 10_000)).toBe("nothing");
  expect(decideDue(unknown, limits, 10_001)).toBe("stale");
});

test("does not blame a connection that has said who it is and waits for our answer", () => {
  const waiting = { ...life, expiresAtMs: null, nextPingAtMs: 0 };
  expect(decideDue(waiting, limits, 10_000)).toBe("nothing");
  expect(decideDue(waiting, limits, 10_001)).toBe("unanswered");
});

test("spreads first pings over half an interval", () => {
  expect([0, 0.5, 1].map((chance) => firstPingAtMs(1_000, 25_000, chance))).toEqual([13_500, 19_750, 26_000]);
});
