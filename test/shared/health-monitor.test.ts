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

/** Starts a monitor with samples of the caller's, numbered from 1. */
function startMonitor(sample: (number: number) => Promise<Map<string, string>>) {
  const seen = { samples: 0, stalled: [] as string[] };
  monitor = startHealthMonitor({
    limits: LIMITS,
    sample: () => sample(++seen.samples),
    onStalled: (name) => seen.stalled.push(name),
  });
  return seen;
}

const unchanged = () => Promise.resolve(new Map([["it", "unchanged"]]));

test("a stalled thing is reported once", async () => {
  const seen = startMonitor(unchanged);
  await until(() => seen.stalled.length > 0, "the stall is reported", LIMIT_MS);
  expect(seen).toEqual({ samples: 6, stalled: ["it"] });
});

test("a sample that fails discards the samples before it", async () => {
  const seen = startMonitor((count) =>
    count % 5 === 0 ? Promise.reject(new Error("no answer")) : unchanged(),
  );
  await until(() => seen.samples > 30, "many samples were taken", LIMIT_MS);
  expect(seen.stalled).toEqual([]);
});

test("a sample that never comes counts for nothing, and the next ones are taken", async () => {
  const seen = startMonitor((count) => (count < 10 ? new Promise(() => undefined) : unchanged()));
  await until(() => seen.stalled.length > 0, "the stall is reported", LIMIT_MS);
  expect(seen.samples).toBe(15);
});

test("a monitor that was stopped reports nothing", async () => {
  let answer: (tokens: Map<string, string>) => void = () => undefined;
  const seen = startMonitor((count) =>
    count < 6 ? unchanged() : new Promise((resolve) => (answer = resolve)),
  );
  await until(() => seen.samples === 6, "the last sample is under way", LIMIT_MS);
  monitor?.stop();
  answer(await unchanged());
  await setImmediate();
  expect(seen.stalled).toEqual([]);
});
