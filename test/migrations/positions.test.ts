import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { migrateDown, migrateUp } from "../../migrations/index.ts";
import { rowsOf } from "../../shared/db/connection/open.ts";
import { openTestDatabase, type TestDatabase } from "../support/db.ts";

let database: TestDatabase;

beforeAll(async () => {
  database = await openTestDatabase();
});
afterAll(() => database.close());

const ROOMS = 20;
const MEMBERS = 1_000;
const MESSAGES = 30;

const sql = <Row>(text: string, values: unknown[] = []) => rowsOf<Row>(database.db, text, values);

/** Rooms with members as version 0.3 leaves them: the nth member has read n % 32 of 30 messages, which stand at even numbers. */
async function fill(): Promise<void> {
  for (const text of [
    `insert into homeservers (id, server_name, base_url, mode, sealed_secrets) values (gen_random_uuid(), 'hs.test', 'http://127.0.0.1:9', 'appservice', '')`,
    `insert into tenants (id, slug, homeserver_id, sealed_token_keys) select gen_random_uuid(), 'acme', id, '' from homeservers`,
    `insert into observers (id, tenant_id, matrix_user_id) select gen_random_uuid(), id, '@o:hs.test' from tenants`,
    `insert into users (id, tenant_id, external_id, matrix_user_id)
     select gen_random_uuid(), t.id, n::text, '@' || n || ':hs.test' from tenants t, generate_series(1, ${String(MEMBERS)}) n`,
    `insert into rooms (id, tenant_id, observer_id, kind, slug, generation, name, visibility)
     select gen_random_uuid(), t.id, o.id, 'group', n::text, 1, n::text, 'private' from tenants t, observers o, generate_series(1, ${String(ROOMS)}) n`,
    `insert into room_timeline (room_id, tenant_id, epoch, last_number, message_count) select id, tenant_id, 'e', ${String(2 * MESSAGES + 1)}, ${String(MESSAGES)} from rooms`,
    `insert into timeline (room_id, number, tenant_id, entry_id, type, content, at)
     select r.id, n, r.tenant_id, gen_random_uuid(), case when n % 2 = 0 then 'message.created' else 'room.changed' end, '{}', now()
       from rooms r, generate_series(1, ${String(2 * MESSAGES + 1)}) n`,
    `insert into memberships (room_id, user_id, tenant_id, role, read_count)
     select r.id, u.id, r.tenant_id, 'member', cast(u.external_id as int) % 32 from rooms r, users u`,
  ])
    await sql(text);
}

test("20,000 members keep what they had read, also when the migration is interrupted in the middle and started again", async () => {
  for (let last = ""; last !== "0029-positions";) [last = ""] = await migrateDown(database.db);
  await fill();
  // A failure in the middle stands for the end of the process; that leaves knex's lock too.
  await sql(
    `create function interrupt() returns trigger language plpgsql as $$ begin raise exception 'interrupted'; end $$`,
  );
  const [middle] = await sql<{ id: string }>(
    `select id from rooms order by id offset ${String(ROOMS / 2)} limit 1`,
  );
  await sql(
    `create trigger interrupt before update on memberships for each row when (new.room_id = '${middle?.id ?? ""}') execute function interrupt()`,
  );
  await expect(migrateUp(database.db)).rejects.toThrow("interrupted");
  const filled = async () =>
    (await sql<{ count: number }>("select count(*) as count from memberships where read_number > 0"))[0]
      ?.count ?? 0;
  const before = await filled();
  expect(before).toBeGreaterThan(0);
  expect(before).toBeLessThan((ROOMS * MEMBERS) / 2 + 1);
  await sql("drop trigger interrupt on memberships");
  await sql("update knex_migrations_lock set is_locked = 1");
  // A process of version 0.3 adds a member meanwhile, and another one reads on.
  await sql("update memberships set read_count = 1 where read_count = 0 and room_id = ?", [middle?.id]);

  expect(await migrateUp(database.db)).toContain("0031-fill-positions");
  const wrong = await sql(
    `select read_count, read_number, receipt_number from memberships
      where read_number <> case when read_count = 0 then 0 when read_count >= ${String(MESSAGES)} then ${String(2 * MESSAGES + 1)} else 2 * read_count end
         or receipt_number <> read_number`,
  );
  expect(wrong).toEqual([]);
  expect(await filled()).toBeGreaterThan(before);
});

test("a member who is changed meanwhile keeps no migration waiting, and what it adds is checked", async () => {
  for (let last = ""; last !== "0031-fill-positions";) [last = ""] = await migrateDown(database.db);
  await sql("update memberships set read_number = 0 where read_count > 0");
  const hold = await database.db.transaction();
  try {
    await hold.raw(
      "update memberships set updated_at = now() where ctid = (select ctid from memberships where read_count > 0 limit 1)",
    );
    expect((await migrateUp(database.db))[0]).toBe("0031-fill-positions");
  } finally {
    await hold.rollback();
  }
  const left = await sql("select 1 from memberships where read_count > 0 and read_number = 0");
  expect(left).toHaveLength(1);
  expect(await sql("select conname from pg_constraint where not convalidated")).toEqual([]);
});
