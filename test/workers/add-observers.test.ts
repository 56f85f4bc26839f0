import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { handleMaintenance } from "../../workers/jobs/maintenance.ts";
import { openWorkplace, type Workplace } from "../support/stack-workplace.ts";

let place: Workplace;
beforeAll(async () => {
  place = await openWorkplace();
});
afterAll(() => place.close());

const reconcile = () => handleMaintenance(place.context(), { task: "reconcile" });

async function observers(): Promise<string[]> {
  const rows = await place.sql<{ id: string }>(
    "select o.id from observers o join sync_positions p on p.observer_id = o.id order by o.created_at",
  );
  return rows.map(({ id }) => id);
}

function fill(count: number): Promise<unknown> {
  return place.sql(
    `insert into rooms (id, tenant_id, kind, slug, generation, name, visibility, status, observer_id)
     select gen_random_uuid(), ?, 'group', 'fill-' || gen_random_uuid(), 1, 'x', 'private', 'ready',
            (select id from observers order by created_at desc limit 1)
       from generate_series(1, ?)`,
    [place.tenantId, count],
  );
}

test("a tenant whose newest observer has two thousand rooms gets one more, and new rooms get that one", async () => {
  await fill(1_999);
  await reconcile();
  expect(await observers()).toHaveLength(1);

  const old = await place.room("group:old");
  await reconcile();
  const [first, second] = await observers();
  expect(second).toBeDefined();

  const young = await place.room("group:young");
  expect([old.observer_id, young.observer_id]).toEqual([first, second]);
  await reconcile();
  expect(await observers()).toHaveLength(2);
});

test("deleted rooms do not count, and a paused tenant gets no observer", async () => {
  const before = await observers();
  await fill(2_000);
  await place.sql("update tenants set status = 'paused'");
  await reconcile();
  await place.sql("update tenants set status = 'active'");
  await place.sql("update rooms set deleted_at = now() where slug like 'fill-%'");
  await reconcile();
  expect(await observers()).toEqual(before);
});
