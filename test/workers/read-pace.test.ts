import { expect, test } from "@jest/globals";
import { createReadPace } from "../../workers/inbound/observers/read-pace.ts";

test("an observer that reads few events reads again at once", () => {
  let nowMs = 0;
  const pace = createReadPace(() => nowMs);
  for (let index = 0; index < 100; index++) {
    nowMs += 100;
    pace.add(1);
    expect(pace.pauseMs()).toBe(0);
  }
});

test("an observer pauses between its reads while many events arrive, however they are divided among the reads", () => {
  let nowMs = 0;
  const pace = createReadPace(() => nowMs);
  for (let index = 0; index < 20; index++) {
    nowMs += 40;
    pace.add(1);
  }
  expect(pace.pauseMs()).toBeGreaterThan(0);
  for (let index = 0; index < 10; index++) {
    nowMs += 150;
    pace.add(4);
    expect(pace.pauseMs()).toBeGreaterThan(0);
  }
});

test("the pauses end within a second after the last events", () => {
  let nowMs = 0;
  const pace = createReadPace(() => nowMs);
  pace.add(50);
  expect(pace.pauseMs()).toBeGreaterThan(0);
  nowMs += 1_001;
  expect(pace.pauseMs()).toBe(0);
});
