import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { migrateDown, migrateUp } from "../../migrations/index.ts";
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
