import { expect, test } from "@jest/globals";
import { createBatcher } from "../../shared/platform/concurrency/batcher.ts";

const turn = () => new Promise((resolve) => setImmediate(resolve));

/** A source that answers when told to. */
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

test("what is asked at once is one question, and the same key is asked once", async () => {
  const { calls, load } = createSource();
  const ask = createBatcher(1, load);
  const answers = Promise.all([ask("a"), ask("b"), ask("a"), ask("none")]);
  await turn();
  calls[0]?.answer();
  expect(await answers).toEqual(["a!", "b!", "a!", undefined]);
  expect(calls.map(({ keys }) => keys)).toEqual([["a", "b", "none"]]);
});

test("what is asked while a question is open is read anew", async () => {
  const { calls, load } = createSource();
  const ask = createBatcher(1, load);
  const first = ask("a");
  await turn();
  const second = ask("a");
  await turn();
  expect(calls).toHaveLength(1);
  calls[0]?.answer();
  await first;
  await turn();
  calls[1]?.answer();
  expect(await second).toBe("a!");
  expect(calls).toHaveLength(2);
});

test("a question that fails, fails those who asked it, and no others", async () => {
  const { calls, load } = createSource();
  const ask = createBatcher(1, load);
  const first = ask("a");
  await turn();
  const second = ask("b");
  calls[0]?.fail();
  await expect(first).rejects.toThrow("away");
  await turn();
  calls[1]?.answer();
  expect(await second).toBe("b!");
});
