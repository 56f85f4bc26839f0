import { afterEach, expect, test } from "@jest/globals";
import { setImmediate } from "node:timers/promises";
import { startHealthMonitor, type HealthMonitor } from "../../shared/platform/stall/health-monitor.ts";
import { until } from "../support/wait.ts";

const LIMITS = { everyMs: 20, limitMs: 100 };
const LIMIT_MS = 20_000;

let monitor: HealthMonitor | null = null;
afterEach(() => {
  monitor?.stop();
});

/** Looks in the way that is given, each look with its number from 1. */
function monitorOf(look: (count: number) => Promise<Map<string, string>>) {
  const seen = { looks: 0, told: [] as string[] };
  monitor = startHealthMonitor({
    limits: LIMITS,
    look: () => look(++seen.looks),
    onStalled: (name) => seen.told.push(name),
  });
  return seen;
}

const still = () => Promise.resolve(new Map([["it", "still"]]));

test("what stands still is told of", async () => {
  const seen = monitorOf(still);
  await until(() => seen.told.length > 0, "it is told", LIMIT_MS);
  expect(seen).toEqual({ looks: 6, told: ["it"] });
});

test("a look that fails counts for nothing, and neither do those before it", async () => {
  const seen = monitorOf((count) => (count % 5 === 0 ? Promise.reject(new Error("no answer")) : still()));
  await until(() => seen.looks > 30, "it was looked often", LIMIT_MS);
  expect(seen.told).toEqual([]);
});

test("a look that is never answered counts for nothing, and is no reason not to look again", async () => {
  const seen = monitorOf((count) => (count < 10 ? new Promise(() => undefined) : still()));
  await until(() => seen.told.length > 0, "it is told", LIMIT_MS);
  expect(seen.looks).toBe(15);
});

test("nothing is told after the end", async () => {
  let answer: (marks: Map<string, string>) => void = () => undefined;
  const seen = monitorOf((count) => (count < 6 ? still() : new Promise((resolve) => (answer = resolve))));
  await until(() => seen.looks === 6, "the last look is under way", LIMIT_MS);
  monitor?.stop();
  answer(await still());
  await setImmediate();
  expect(seen.told).toEqual([]);
});
