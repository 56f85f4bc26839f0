import { Socket } from "node:net";
import { afterAll, beforeAll, beforeEach, expect, jest, test } from "@jest/globals";
import { transactPipelined } from "../../shared/db/connection/pipelined-transaction.ts";
import { isDbUnavailable, isRepeatable } from "../../shared/db/connection/failures.ts";
import { openDb, rowsOf, type Db } from "../../shared/db/connection/open.ts";
import { openTestDatabase, type TestDatabase } from "../support/db.ts";
import { openProxy } from "../support/realtime-proxy.ts";

let database: TestDatabase;
let db: Db;
beforeAll(async () => {
  database = await openTestDatabase({ isEmpty: true });
  // One connection: the next transaction meets what a failure leaves on it.
  db = openDb({ url: database.url, name: "pipelined", max: 1 });
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

test("statements run in the given order, each sees the changes of those before it, and the caller receives the rows of each", async () => {
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

test("a statement that fails undoes all of them, its error is thrown, and the next transaction works", async () => {
  const failure: unknown = await transactPipelined(db, [add(1, "one"), add(1, "again"), add(2, "two")]).catch(
    (error: unknown) => error,
  );
  expect(isRepeatable(failure)).toBe(true);
  expect(await readAll()).toEqual([]);
  await transactPipelined(db, [add(3, "three")]);
  expect(await readAll()).toEqual([{ id: 3, text: "three" }]);
});

test("a listener of the pool receives each statement", async () => {
  const statements: string[] = [];
  const note = ({ sql }: { sql: string }) => statements.push(sql.split(" ")[0] ?? "");
  db.on("query", note);
  await transactPipelined(db, [add(7, "seven")]);
  db.off("query", note);
  expect(statements).toEqual(["begin", "insert", "commit"]);
});

test("a statement that Postgres cannot prepare undoes all of them too", async () => {
  await expect(
    transactPipelined(db, [add(1, "one"), { sql: "select nonsense", bindings: [] }]),
  ).rejects.toThrow("nonsense");
  expect(await readAll()).toEqual([]);
});

test("a connection that Postgres ends during a transaction counts as an outage, and is replaced", async () => {
  const sleep = { sql: "select pg_sleep(30)", bindings: [] };
  const outcome = transactPipelined(db, [add(1, "one"), sleep]).catch((error: unknown) => error);
  await endSleepers(database.db);
  expect(isDbUnavailable(await outcome)).toBe(true);
  expect(await readAll()).toEqual([]);
});

test("a transaction is refused: it would need the connection of another", async () => {
  await expect(db.transaction((trx) => transactPipelined(trx, [add(1, "one")]))).rejects.toThrow(TypeError);
});

test("a whole transaction goes to Postgres in one write", async () => {
  await rowsOf(db, "select 1", []);
  const writes = [jest.spyOn(Socket.prototype, "_write"), jest.spyOn(Socket.prototype, "_writev")];
  try {
    await transactPipelined(db, [add(1, "one"), add(2, "two"), add(3, "three")]);
    expect(writes.reduce((sum, { mock }) => sum + mock.calls.length, 0)).toBe(1);
  } finally {
    for (const spy of writes) spy.mockRestore();
  }
});

// The driver's limit for one query is in none of its types: this test fails when a version drops it.
test("statements that take longer together than one may take are committed", async () => {
  const strict = openDb({ url: database.url, name: "pipelined", max: 1, statementTimeoutMs: 400 });
  const sleep = { sql: "select pg_sleep(0.3)", bindings: [] };
  try {
    await transactPipelined(strict, [add(1, "one"), sleep, sleep, sleep, sleep, sleep, sleep]);
  } finally {
    await strict.destroy();
  }
  expect(await readAll()).toEqual([{ id: 1, text: "one" }]);
});

test.each<[string, (pool: Db) => Promise<unknown>]>([
  ["a statement", (pool) => rowsOf(pool, "select 1", [])],
  ["a pipelined transaction", (pool) => transactPipelined(pool, [add(1, "one"), add(2, "two"), add(3, "3")])],
])("%s on a connection that looks open and is dead fails in time, and the next one works", async (_, ask) => {
  const proxy = await openProxy(database.url);
  const proxied = openDb({ url: proxy.url, name: "pipelined", max: 1, statementTimeoutMs: 100 });
  try {
    await rowsOf(proxied, "select 1", []);
    proxy.mute();
    const sinceMs = performance.now();
    const failure: unknown = await ask(proxied).catch((error: unknown) => error);
    expect(isDbUnavailable(failure)).toBe(true);
    expect(performance.now() - sinceMs).toBeLessThan(3_000);
    proxy.restore();
    // The dead connection may still have carried the statements to Postgres.
    await db.raw("truncate notes");
    await ask(proxied);
  } finally {
    await proxied.destroy();
    await proxy.close();
  }
});

/** Ends the connection that runs `pg_sleep`, as soon as it runs. */
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
