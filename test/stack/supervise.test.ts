import { describe, expect, test } from "@jest/globals";
import { chooseRestartDelayMs } from "../../stack/supervisor/supervise.mjs";

describe("a dead process is started again", () => {
  test("after half a second, doubling to ten seconds", () => {
    const delays: number[] = [];
    for (let deaths = 0; deaths < 7; deaths += 1) {
      delays.push(chooseRestartDelayMs({ previousDelayMs: delays.at(-1), livedMs: 100 }));
    }
    expect(delays).toEqual([500, 1_000, 2_000, 4_000, 8_000, 10_000, 10_000]);
  });

  test("after half a second once more when it has lived for thirty", () => {
    expect(chooseRestartDelayMs({ previousDelayMs: 10_000, livedMs: 30_000 })).toBe(500);
    expect(chooseRestartDelayMs({ previousDelayMs: 4_000, livedMs: 29_999 })).toBe(8_000);
  });
});
