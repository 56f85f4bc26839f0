import { afterAll, beforeAll, beforeEach, expect, test } from "@jest/globals";
import type { Room } from "../../shared/db/rooms/rooms.ts";
import { setTenantLimits } from "../../shared/db/tenants/tenants.ts";
import { handleMembership } from "../../workers/jobs/membership.ts";
import { MatrixFailure } from "../../workers/matrix/http/failure.ts";
import { FakeHomeserver } from "../support/stack-fake-homeserver.ts";
import { openWorkplace, type Workplace } from "../support/stack-workplace.ts";

let place: Workplace;
let homeserver: FakeHomeserver;
let count = 0;
beforeAll(async () => {
  place = await openWorkplace();
});
beforeEach(() => {
  homeserver = new FakeHomeserver();
});
afterAll(() => place.close());

function move({ id }: Room) {
  return handleMembership(place.context(homeserver), { tenantId: place.tenantId, roomId: id });
}

async function members({ id }: Room): Promise<unknown[]> {
  return place.sql(
    `select u.external_id as user, s.applied, s.error is not null as "hasFailed"
       from memberships s join users u on u.id = s.user_id where s.room_id = ? order by u.external_id`,
    [id],
  );
}

test("members are joined in the background only after they opened the room, unless the tenant has eager joins", async () => {
  const lazy = await place.room(`group:lazy-${++count}`, ["ada", "bob"]);
  await place.sql(
    "update memberships set opened_at = now() where room_id = ? and user_id = (select id from users where external_id = 'bob')",
    [lazy.id],
  );
  await move(lazy);
  expect(await members(lazy)).toEqual([
    { user: "ada", applied: "out", hasFailed: false },
    { user: "bob", applied: "in", hasFailed: false },
  ]);
  await setTenantLimits(place.db, "acme", { join: "eager" });
  try {
    const eager = await place.room(`group:eager-${++count}`, ["ada", "bob"]);
    await move(eager);
    expect(await members(eager)).toEqual([
      { user: "ada", applied: "in", hasFailed: false },
      { user: "bob", applied: "in", hasFailed: false },
    ]);
  } finally {
    await setTenantLimits(place.db, "acme", {});
  }
});

test.each([
  ["never accepts", "permanent", "M_USER_LOCKED"],
  ["does not accept until its operator repairs something", "limited", "M_RESOURCE_LIMIT_EXCEEDED"],
] as const)("an account that the homeserver %s does not keep other members out", async (_, kind, errcode) => {
  await setTenantLimits(place.db, "acme", { join: "eager" });
  try {
    const room = await place.room(`group:locked-${++count}`, ["ada", "bob", "cleo"]);
    homeserver.fail(/\/join$/, new MatrixFailure(kind, { errcode, httpStatus: 403 }));
    expect(await move(room)).toEqual({ retryInMs: null });
    const found = (await members(room)) as { applied: string; hasFailed: boolean }[];
    expect(found.filter(({ applied }) => applied === "in")).toHaveLength(2);
    expect(found.filter(({ hasFailed }) => hasFailed)).toHaveLength(1);
  } finally {
    await setTenantLimits(place.db, "acme", {});
  }
});

test("an observer that is suspended is no failure of the members: they join when it is not any more", async () => {
  await setTenantLimits(place.db, "acme", { join: "eager" });
  try {
    const room = await place.room(`group:suspended-${++count}`, ["ada", "bob"]);
    const suspended = { errcode: "M_USER_SUSPENDED", httpStatus: 403 };
    homeserver.fail(/\/invite$/, new MatrixFailure("account", suspended));
    expect((await move(room)).retryInMs).toBeGreaterThan(0);
    expect(await members(room)).toEqual([
      { user: "ada", applied: "out", hasFailed: false },
      { user: "bob", applied: "out", hasFailed: false },
    ]);
    await move(room);
    expect(await members(room)).toMatchObject([{ applied: "in" }, { applied: "in" }]);
  } finally {
    await setTenantLimits(place.db, "acme", {});
  }
});
