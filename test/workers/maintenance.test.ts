import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { handleMaintenance } from "../../workers/jobs/maintenance.ts";
import { openWorkplace, type Workplace } from "../support/stack-workplace.ts";

let place: Workplace;
beforeAll(async () => {
  place = await openWorkplace();
});
afterAll(() => place.close());

test("all failed attempts older than a month are deleted, however many there are; newer ones stay", async () => {
  const room = await place.room("group:retention", ["ada"]);
  const [message] = await place.accept(room, "ada", "hello");
  const insert = (count: number, age: string) =>
    place.sql(
      `insert into delivery_attempts (id, tenant_id, message_id, at, failure, detail)
       select gen_random_uuid(), ?, ?, now() - cast(? as interval), 'transient', 'it failed'
         from generate_series(1, cast(? as int))`,
      [place.tenantId, message?.id, age, count],
    );
  await insert(12_000, "31 days");
  await insert(3, "29 days");

  await handleMaintenance(place.context(), { task: "retention" });

  expect(await place.sql("select count(*) as count from delivery_attempts")).toEqual([{ count: 3 }]);
});
