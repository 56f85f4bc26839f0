import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { openApiWorld, type ApiWorld, type TestTenant } from "../support/api.ts";
import { until } from "../support/wait.ts";

let world: ApiWorld;
let tenant: TestTenant;

beforeAll(async () => {
  world = await openApiWorld();
  tenant = await world.tenant("held");
});
afterAll(() => world.close());

async function makeRoom(slug: string, members: string[]): Promise<string> {
  const body = { name: slug, members: members.map((user) => ({ user })) };
  await tenant.server("PUT", `/v1/rooms/group/${slug}`, { body });
  return `/v1/rooms/group/${slug}/messages`;
}

/** Locks a room, as a long change does, until `meanwhile` ends. */
async function holding(slug: string, meanwhile: () => Promise<void>): Promise<void> {
  await world.db.transaction(async (trx) => {
    await trx.raw(
      `select 1 from room_outbox
        where room_id = (select id from rooms where tenant_id = ? and slug = ?) for update`,
      [tenant.row.id, slug],
    );
    await meanwhile();
  });
}

test("a room that stays locked delays only its own messages, which are accepted in order afterwards", async () => {
  const [held, free] = [await makeRoom("held", ["ada"]), await makeRoom("free", ["ada"])];
  const ada = await tenant.user("ada");
  const waiting: Promise<unknown>[] = [];
  const answered: string[] = [];
  const post = (path: string, text: string) =>
    ada("POST", path, { body: { text } }).then(({ status }) => answered.push(`${text} ${status}`));

  await holding("held", async () => {
    waiting.push(post(held, "held 1"));
    const others = Array.from({ length: 10 }, (_, index) => post(free, `free ${index}`));
    waiting.push(...others);
    await until(() => answered.length === 10, "the free room's messages were accepted", 3_000);
    waiting.push(post(held, "held 2"));
    await post(free, "free again");
  });
  await Promise.all(waiting);

  expect(answered).toContain("free again 202");
  expect(answered.slice(-2).sort()).toEqual(["held 1 202", "held 2 202"]);
  const { rows } = await world.db.raw<{ rows: { text: string }[] }>(
    `select content ->> 'text' as text from messages
      where room_id = (select id from rooms where tenant_id = ? and slug = 'held') order by order_number`,
    [tenant.row.id],
  );
  expect(rows.map(({ text }) => text)).toEqual(["held 1", "held 2"]);
});
