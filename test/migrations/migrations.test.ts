import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { migrateDown, migrateUp } from "../../migrations/index.ts";
import { NEEDED_MIGRATION, requireSchema } from "../../shared/db/connection/schema.ts";
import { openDb } from "../../shared/db/connection/open.ts";
import { newId } from "../../shared/platform/ids.ts";
import { openTestDatabase, type TestDatabase } from "../support/db.ts";

let database: TestDatabase;

beforeAll(async () => {
  database = await openTestDatabase({ isEmpty: true });
});
afterAll(() => database.close());

async function describeSchema(): Promise<unknown> {
  const { rows } = await database.db.raw<{ rows: unknown[] }>(
    `select table_name, column_name, data_type, is_nullable, column_default from information_schema.columns
      where table_schema = 'public' and table_name not like 'knex%' order by table_name, column_name`,
  );
  const indexes = await database.db.raw<{ rows: unknown[] }>(
    "select indexdef from pg_indexes where schemaname = 'public' and tablename not like 'knex%' order by indexdef",
  );
  return [rows, indexes.rows];
}

test("the schema goes forward, back to nothing, and forward to the same again", async () => {
  const names = await migrateUp(database.db);
  expect(names.length).toBeGreaterThan(0);
  const schema = await describeSchema();
  for (const name of [...names].reverse()) expect(await migrateDown(database.db)).toEqual([name]);
  expect(await migrateDown(database.db)).toEqual([]);
  expect(await describeSchema()).toEqual([[], []]);
  expect(await migrateUp(database.db)).toEqual(names);
  expect(await describeSchema()).toEqual(schema);
});

test("a schema that is up to date is left alone, from two places at once too", async () => {
  await migrateUp(database.db);
  expect(await migrateUp(database.db)).toEqual([]);
});

test("a former version starts on the schema of a newer one, and leaves the newer migrations to that version", async () => {
  await migrateUp(database.db);
  const newer = "9999-of-a-newer-version";
  await database.db("knex_migrations").insert({ name: newer, batch: 99, migration_time: new Date() });
  expect(await migrateUp(database.db)).toEqual([]);
  await requireSchema(database.db);
  await expect(migrateDown(database.db)).rejects.toThrow(`${newer} is of a newer version`);
  await database.db("knex_migrations").where({ name: newer }).delete();
});

test("a program does not start on a schema that lacks its newest migration, and says what to run", async () => {
  const names = await migrateUp(database.db);
  const all =
    names.length > 0 ? names : await database.db("knex_migrations").orderBy("id").pluck<string[]>("name");
  expect(all.at(-1)).toBe(NEEDED_MIGRATION);
  await requireSchema(database.db);
  await migrateDown(database.db);
  await expect(requireSchema(database.db)).rejects.toThrow("npm run migrate");
  await migrateUp(database.db);

  const empty = await openTestDatabase({ isEmpty: true });
  await expect(requireSchema(empty.db)).rejects.toThrow("npm run migrate");
  await empty.close();
});

test("a program starts before its Postgres", async () => {
  const away = openDb({ url: "postgres://nobody@127.0.0.1:1/nothing", name: "away" });
  await requireSchema(away);
  await away.destroy();
});

test("direct rooms of users who were deleted before it end with migration 0017, and tokens of those users are refused", async () => {
  const { db } = database;
  await migrateUp(db);
  for (let last = ""; last !== "0017-token-validity";) [last = ""] = await migrateDown(db);
  const [homeserver, tenant, observer] = [newId(), newId(), newId()];
  await db("homeservers").insert({
    ...{ id: homeserver, server_name: "hs.test", base_url: "http://127.0.0.1:9" },
    ...{ mode: "appservice", sealed_secrets: "" },
  });
  await db("tenants").insert({ id: tenant, slug: "acme", homeserver_id: homeserver, sealed_token_keys: "" });
  await db("observers").insert({ id: observer, tenant_id: tenant, matrix_user_id: "@o:hs.test" });
  const [former, next, bob] = [newId(), newId(), newId()];
  const user = (id: string, name: string, deletedAt: Date | null) => ({
    ...{ id, tenant_id: tenant, external_id: name, matrix_user_id: `@${id}:hs.test`, deleted_at: deletedAt },
  });
  const deletedAt = new Date(Date.now() - 3_600_000);
  await db("users").insert([user(former, "ada", deletedAt), user(next, "ada", null), user(bob, "bob", null)]);
  const [inherited, kept] = [newId(), newId()];
  for (const [id, kind, slug] of [
    [inherited, "direct", "ada~bob"],
    [kept, "group", "chess"],
  ] as const) {
    const room = { id, kind, slug, tenant_id: tenant, observer_id: observer, generation: 1, name: slug };
    await db("rooms").insert({ ...room, visibility: "private" });
    for (const member of [former, bob])
      await db("memberships").insert({
        ...{ room_id: id, user_id: member, tenant_id: tenant, role: "member" },
        desired: member === bob ? "in" : "out",
      });
  }
  await migrateUp(db);
  const rooms = await db("rooms").whereNotNull("deleted_at").pluck<string[]>("id");
  expect(rooms).toEqual([inherited]);
  expect(await db("memberships").where({ desired: "in" }).pluck<string[]>("room_id")).toEqual([kept]);
  expect(await db("notices").select("kind", "user_id", "room_id")).toEqual([
    { kind: "room.removed", user_id: bob, room_id: inherited },
  ]);
  const bounds = await db("users").orderBy("created_at").select("id", "product_tokens_valid_from");
  expect(bounds).toEqual(
    expect.arrayContaining([
      { id: next, product_tokens_valid_from: new Date(deletedAt.getTime() + 31_000) },
      { id: bob, product_tokens_valid_from: new Date(0) },
    ]),
  );
});

test("migration 0026 refuses while a message of version 0.2 waits without a number, and says what to do", async () => {
  const { db } = database;
  await migrateUp(db);
  for (let last = ""; last !== "0026-acts";) [last = ""] = await migrateDown(db);
  const [homeserver, tenant, message] = [newId(), newId(), newId()];
  await db("homeservers").insert({
    ...{ id: homeserver, server_name: "older.test", base_url: "http://127.0.0.1:9" },
    ...{ mode: "appservice", sealed_secrets: "" },
  });
  await db("tenants").insert({ id: tenant, slug: "older", homeserver_id: homeserver, sealed_token_keys: "" });
  await db("messages").insert({
    ...{ id: message, tenant_id: tenant, room_id: newId(), sender_id: newId(), order_number: 1 },
    content: JSON.stringify({ text: "written to version 0.2" }),
  });
  await expect(migrateUp(db)).rejects.toThrow("by way of version 0.3");
  await db("messages").where({ id: message }).update({ numbered: true });
  expect((await migrateUp(db))[0]).toBe("0026-acts");
  await db("messages").where({ id: message }).delete();
});
