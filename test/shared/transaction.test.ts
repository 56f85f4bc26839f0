import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { StaleView, transact } from "../../shared/db/connection/transaction.ts";
import { openTestDatabase, type TestDatabase } from "../support/db.ts";

let database: TestDatabase;
beforeAll(async () => {
  database = await openTestDatabase({ isEmpty: true });
});
afterAll(() => database.close());

const withCode = (code: string) => Object.assign(new Error("it failed"), { code });

const passing: [string, Error][] = [
  ["a view that is stale again and again", new StaleView("somebody was faster")],
  ["a deadlock each time", withCode("40P01")],
  ["a row that somebody else inserts each time", withCode("23505")],
];

test.each(passing)(
  "%s is tried five times, then the caller is asked to come back",
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

test("a failure that would come again is not tried again", async () => {
  let tries = 0;
  const work = transact(database.db, () => {
    tries++;
    return Promise.reject(withCode("42601"));
  });
  await expect(work).rejects.toThrow("it failed");
  expect(tries).toBe(1);
});
