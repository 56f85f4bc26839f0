import { afterEach, beforeEach, describe, expect, jest, test } from "@jest/globals";
import { every } from "../../shared/platform/concurrency/every.ts";
import { createKeyedMutex } from "../../shared/platform/concurrency/keyed-mutex.ts";
import { createSingleFlight } from "../../shared/platform/concurrency/single-flight.ts";
import { withTimeout } from "../../shared/platform/concurrency/with-timeout.ts";

/** Work that the test ends. Each call of `run` is one entry of `runs`. */
function createWork<T>() {
  const runs: { resolve: (value: T) => void; reject: (error: Error) => void }[] = [];
  return { runs, run: () => new Promise<T>((resolve, reject) => runs.push({ resolve, reject })) };
}

/** Lets all promise reactions that are due run. */
const settle = () => jest.advanceTimersByTimeAsync(0);

beforeEach(() => {
  jest.useFakeTimers();
});
afterEach(() => {
  jest.useRealTimers();
});

describe("every", () => {
  const notExpected = (error: unknown) => {
    throw error;
  };

  test("the first run starts after the interval", async () => {
    const { runs, run } = createWork<undefined>();
    const repeating = every(100, run, notExpected);
    await jest.advanceTimersByTimeAsync(99);
    expect(runs).toHaveLength(0);
    await jest.advanceTimersByTimeAsync(1);
    expect(runs).toHaveLength(1);
    runs[0]?.resolve(undefined);
    await repeating.stop();
  });

  test("a run that lasts longer than the interval delays the next one, and the missed ticks are not made up for", async () => {
    const { runs, run } = createWork<undefined>();
    const repeating = every(100, run, notExpected);
    await jest.advanceTimersByTimeAsync(350);
    expect(runs).toHaveLength(1);
    runs[0]?.resolve(undefined);
    await jest.advanceTimersByTimeAsync(49);
    expect(runs).toHaveLength(1);
    await jest.advanceTimersByTimeAsync(1);
    expect(runs).toHaveLength(2);
    runs[1]?.resolve(undefined);
    await repeating.stop();
  });

  test.each([
    ["throws", () => { throw new Error("failed"); }], // prettier-ignore
    ["rejects", () => Promise.reject(new Error("failed"))],
  ])("work that %s is reported, and the next tick runs again", async (_, fail) => {
    const failures: unknown[] = [];
    const repeating = every(100, fail, (error) => failures.push(error));
    await jest.advanceTimersByTimeAsync(200);
    expect(failures).toEqual([new Error("failed"), new Error("failed")]);
    await repeating.stop();
  });

  test("stop waits for the current run, and starts no other", async () => {
    const { runs, run } = createWork<undefined>();
    const repeating = every(100, run, notExpected);
    await jest.advanceTimersByTimeAsync(100);
    let isStopped = false;
    const stopped = repeating.stop().then(() => (isStopped = true));
    await jest.advanceTimersByTimeAsync(500);
    expect([runs.length, isStopped]).toEqual([1, false]);
    runs[0]?.resolve(undefined);
    await stopped;
  });
});

describe("withTimeout", () => {
  test("work that ends in time returns its result, and leaves no timer", async () => {
    expect(await withTimeout(Promise.resolve("result"), 100, () => "late")).toBe("result");
    expect(jest.getTimerCount()).toBe(0);
  });

  test("work that fails in time throws its error, and leaves no timer", async () => {
    const work = withTimeout(Promise.reject(new Error("failed")), 100, () => "late");
    await expect(work).rejects.toThrow("failed");
    expect(jest.getTimerCount()).toBe(0);
  });

  test("work that takes too long returns what the caller chose, or throws it", async () => {
    const outcomes = Promise.allSettled([
      withTimeout(new Promise(() => undefined), 100, () => "late"),
      withTimeout(new Promise(() => undefined), 100, () => {
        throw new Error("too late");
      }),
    ]);
    await jest.advanceTimersByTimeAsync(101);
    expect(await outcomes).toEqual([
      { status: "fulfilled", value: "late" },
      { status: "rejected", reason: new Error("too late") },
    ]);
  });

  test("a failure after the limit is dropped", async () => {
    const { runs, run } = createWork<string>();
    const outcome = withTimeout(run(), 100, () => "late");
    await jest.advanceTimersByTimeAsync(101);
    runs[0]?.reject(new Error("failed"));
    await settle();
    // An unhandled rejection would fail this test.
    expect(await outcome).toBe("late");
  });

  test("a result that waited in a socket while the process was busy is in time", async () => {
    jest.useRealTimers();
    const { port1, port2 } = new MessageChannel();
    const received = new Promise((resolve) => {
      port2.once("message", resolve);
    });
    const outcome = withTimeout(received, 20, () => "late");
    port1.postMessage("result");
    const busyUntilMs = performance.now() + 60;
    while (performance.now() < busyUntilMs);
    expect(await outcome).toBe("result");
    port1.close();
  });
});

describe("single flight", () => {
  test("callers during a run share the next run, which starts when the current one ends", async () => {
    const { runs, run } = createWork<number>();
    const flight = createSingleFlight(run);
    const first = flight();
    await settle();
    const second = flight();
    const third = flight();
    await settle();
    expect(runs).toHaveLength(1);
    runs[0]?.resolve(1);
    await settle();
    expect(runs).toHaveLength(2);
    runs[1]?.resolve(2);
    expect(await Promise.all([first, second, third])).toEqual([1, 2, 2]);
  });

  test("callers before a run starts share it", async () => {
    const { runs, run } = createWork<number>();
    const flight = createSingleFlight(run);
    const both = Promise.all([flight(), flight()]);
    await settle();
    expect(runs).toHaveLength(1);
    runs[0]?.resolve(1);
    expect(await both).toEqual([1, 1]);
  });

  test("a run that fails fails its own callers, and the next run starts", async () => {
    const { runs, run } = createWork<number>();
    const flight = createSingleFlight(run);
    const first = flight();
    const failure = expect(first).rejects.toThrow("failed");
    await settle();
    const second = flight();
    runs[0]?.reject(new Error("failed"));
    await failure;
    await settle();
    runs[1]?.resolve(2);
    expect(await second).toBe(2);
  });
});

describe("keyed mutex", () => {
  test("work of one key runs in the order of the calls, one after the other", async () => {
    const { runs, run } = createWork<number>();
    const mutex = createKeyedMutex();
    const both = Promise.all([mutex("room", run), mutex("room", run)]);
    await settle();
    expect(runs).toHaveLength(1);
    runs[0]?.resolve(1);
    await settle();
    expect(runs).toHaveLength(2);
    runs[1]?.resolve(2);
    expect(await both).toEqual([1, 2]);
  });

  test("work of two keys runs at the same time", async () => {
    const { runs, run } = createWork<number>();
    const mutex = createKeyedMutex();
    const both = Promise.all([mutex("one", run), mutex("other", run)]);
    await settle();
    expect(runs).toHaveLength(2);
    for (const { resolve } of runs) resolve(0);
    await both;
  });

  test("work that fails lets the next work of its key run", async () => {
    const mutex = createKeyedMutex();
    const failed = mutex("room", () => Promise.reject(new Error("failed")));
    const next = mutex("room", () => Promise.resolve("next"));
    await expect(failed).rejects.toThrow("failed");
    expect(await next).toBe("next");
  });

  test("the work after the thousandth of one key is refused, other keys run, and the key recovers", async () => {
    const { runs, run } = createWork<number>();
    const mutex = createKeyedMutex();
    const waiting = Array.from({ length: 1_000 }, () => mutex("busy", run));
    await expect(mutex("busy", run)).rejects.toMatchObject({ code: "unavailable", retryAfterMs: 1_000 });
    expect(await mutex("calm", () => Promise.resolve("done"))).toBe("done");
    for (let count = 0; count < 1_000; count++) {
      await settle();
      runs[count]?.resolve(count);
    }
    await Promise.all(waiting);
    expect(await mutex("busy", () => Promise.resolve("done"))).toBe("done");
  });
});
