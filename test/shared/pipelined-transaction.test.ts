import { afterAll, beforeAll, beforeEach, expect, test } from "@jest/globals";
import { transactPipelined } from "../../shared/db/connection/pipelined-transaction.ts";
import { isDbUnavailable, isRepeatable } from "../../shared/db/connection/failures.ts";
import { openDb, rowsOf, type Db } from "../../shared/db/connection/open.ts";
import { openTestDatabase, type TestDatabase } from "../support/db.ts";

let database: TestDatabase;
let db: Db;
beforeAll(async () => {
  database = await openTestDatabase({ isEmpty: true });
  // One connection: what a failure leaves on it, the next one meets.
  db = openDb({ url: database.url, name: "at-once", max: 1 });
});
afterAll(async () => {
  await db.destroy();
  await database.close();
});
beforeEach(() => db.raw("drop table if exists notes; create table notes (id int primary key, text text)"));

const add = (id: number, text: string) => ({
  sql: "insert into notes (id, text) values (:id, :text) returning id",
  bindings: { id, text },
});
const readAll = () => rowsOf<{ id: number; text: string }>(db, "select id, text from notes order by id", []);

test("statements run in the order given, each sees what those before it did, and each one's rows are answered", async () => {
  const [first, second, all] = await transactPipelined<
    [{ id: number }[], { id: number }[], { count: number }[]]
  >(db, [
    add(1, "one"),
    add(2, "two"),
    { sql: "select count(*) as count from notes where id < ?", bindings: [9] },
  ]);
  expect([first, second, all]).toEqual([[{ id: 1 }], [{ id: 2 }], [{ count: 2 }]]);
  expect(await readAll()).toHaveLength(2);
});

test("one that fails undoes all of them, is the failure that is thrown, and spoils nothing for the next", async () => {
  const failure: unknown = await transactPipelined(db, [add(1, "one"), add(1, "again"), add(2, "two")]).catch(
    (error: unknown) => error,
  );
  expect(isRepeatable(failure)).toBe(true);
  expect(await readAll()).toEqual([]);
  await transactPipelined(db, [add(3, "three")]);
  expect(await readAll()).toEqual([{ id: 3, text: "three" }]);
});

test("whoever counts statements hears of each of them", async () => {
  const heard: string[] = [];
  const note = ({ sql }: { sql: string }) => heard.push(sql.split(" ")[0] ?? "");
  db.on("query", note);
  await transactPipelined(db, [add(7, "seven")]);
  db.off("query", note);
  expect(heard).toEqual(["begin", "insert", "commit"]);
});

test("one that Postgres cannot prepare undoes all of them too", async () => {
  await expect(
    transactPipelined(db, [add(1, "one"), { sql: "select nonsense", bindings: [] }]),
  ).rejects.toThrow("nonsense");
  expect(await readAll()).toEqual([]);
});

test("a connection that is ended meanwhile is told as such, and replaced", async () => {
  const sleep = { sql: "select pg_sleep(30)", bindings: [] };
  const asked = transactPipelined(db, [add(1, "one"), sleep]).catch((error: unknown) => error);
  await endSleepers(database.db);
  expect(isDbUnavailable(await asked)).toBe(true);
  expect(await readAll()).toEqual([]);
});

/** Ends the connection that sleeps, once it does. */
async function endSleepers(admin: Db): Promise<void> {
  for (;;) {
    const ended = await rowsOf(
      admin,
      "select pg_terminate_backend(pid) from pg_stat_activity where query like 'select pg_sleep%' and pid <> pg_backend_pid() and state = 'active'",
      [],
    );
    if (ended.length > 0) return;
  }
}
