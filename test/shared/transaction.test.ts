import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { StaleView, transact } from "../../shared/db/connection/transaction.ts";
import { openTestDatabase, type TestDatabase } from "../support/db.ts";

let database: TestDatabase;
beforeAll(async () => {
  database = await openTestDatabase({ isEmpty: true });
});
afterAll(() => database.close());

const withCode = (code: string) => Object.assign(new Error("it failed"), { code });

const repeatable: [string, Error][] = [
  ["a stale view each time", new StaleView("another transaction was faster")],
  ["a deadlock each time", withCode("40P01")],
  ["a row that another transaction inserts each time", withCode("23505")],
];

test.each(repeatable)(
  "a transaction with %s is tried five times, then it fails with a time to retry",
  async (_what, failure) => {
    let tries = 0;
    const work = transact(database.db, () => {
      tries++;
      return Promise.reject(failure);
    });
    await expect(work).rejects.toMatchObject({ code: "unavailable", retryAfterMs: 1_000, cause: failure });
    expect(tries).toBe(5);
  },
);

test("a transaction with another error is tried once", async () => {
  let tries = 0;
  const work = transact(database.db, () => {
    tries++;
    return Promise.reject(withCode("42601"));
  });
  await expect(work).rejects.toThrow("it failed");
  expect(tries).toBe(1);
});
