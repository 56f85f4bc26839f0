import { expect, test } from "@jest/globals";
import { createBatcher } from "../../shared/platform/concurrency/batcher.ts";

const nextTurn = () => new Promise((resolve) => setImmediate(resolve));

/** A source whose loads the test answers. */
function createSource() {
  const calls: { keys: string[]; answer: () => void; fail: () => void }[] = [];
  const load = (keys: string[]) =>
    new Promise<Map<string, string>>((resolve, reject) => {
      calls.push({
        keys,
        answer: () => {
          resolve(new Map(keys.filter((key) => key !== "none").map((key) => [key, `${key}!`])));
        },
        fail: () => {
          reject(new Error("away"));
        },
      });
    });
  return { calls, load };
}

test("keys of the same moment are loaded together, each key once", async () => {
  const { calls, load } = createSource();
  const ask = createBatcher(1, load);
  const answers = Promise.all([ask("a"), ask("b"), ask("a"), ask("none")]);
  await nextTurn();
  calls[0]?.answer();
  expect(await answers).toEqual(["a!", "b!", "a!", undefined]);
  expect(calls.map(({ keys }) => keys)).toEqual([["a", "b", "none"]]);
});

test("a key that is requested during its load is loaded again", async () => {
  const { calls, load } = createSource();
  const ask = createBatcher(1, load);
  const first = ask("a");
  await nextTurn();
  const second = ask("a");
  await nextTurn();
  expect(calls).toHaveLength(1);
  calls[0]?.answer();
  await first;
  await nextTurn();
  calls[1]?.answer();
  expect(await second).toBe("a!");
  expect(calls).toHaveLength(2);
});

test("a load that fails, fails its own callers only", async () => {
  const { calls, load } = createSource();
  const ask = createBatcher(1, load);
  const first = ask("a");
  await nextTurn();
  const second = ask("b");
  calls[0]?.fail();
  await expect(first).rejects.toThrow("away");
  await nextTurn();
  calls[1]?.answer();
  expect(await second).toBe("b!");
});

test("requests gather for the next load after one that has just begun, and the first does not wait", async () => {
  const { calls, load } = createSource();
  const ask = createBatcher(2, load, { gatherMs: 50 });
  const first = ask("a");
  await nextTurn();
  expect(calls.map(({ keys }) => keys)).toEqual([["a"]]);
  const others = [ask("b")];
  await nextTurn();
  others.push(ask("a"));
  while (calls.length < 2) await nextTurn();
  expect(calls.map(({ keys }) => keys)).toEqual([["a"], ["b", "a"]]);
  for (const { answer } of calls) answer();
  expect(await Promise.all([first, ...others])).toEqual(["a!", "b!", "a!"]);
});

test("a full batch loads at once", async () => {
  const { calls, load } = createSource();
  const ask = createBatcher(2, load, { gatherMs: 60_000 });
  void ask("first");
  await nextTurn();
  const names = Array.from({ length: 100 }, (_, index) => `k${String(index)}`);
  void Promise.all(names.map(ask));
  await nextTurn();
  expect(calls.map(({ keys }) => keys)).toEqual([["first"], names]);
});
