import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { rowsOf } from "../../shared/db/connection/open.ts";
import { openApiWorld, type ApiWorld, type Ask, type TestTenant } from "../support/api.ts";

let world: ApiWorld;
let tenant: TestTenant;
let ada: Ask;
let bob: Ask;

beforeAll(async () => {
  world = await openApiWorld();
  tenant = await world.tenant("direct");
  for (const user of ["ada", "bob", "cleo"]) await tenant.server("PUT", `/v1/users/${user}`);
  [ada, bob] = [await tenant.user("ada"), await tenant.user("bob")];
});
afterAll(() => world.close());

const open = (ask: Ask, user: unknown) => ask("PUT", "/v1/rooms/direct", { body: { user } });

test("two people who open their direct room at once, again and again, have one room with both as members", async () => {
  const answers = await Promise.all(
    Array.from({ length: 10 }, (_, n) => (n % 2 === 0 ? open(ada, "bob") : open(bob, "ada"))),
  );
  for (const answer of answers)
    expect(answer).toMatchObject({
      status: 202,
      body: { room: "direct:ada~bob", visibility: "private", members: 2 },
    });
  expect(new Set(answers.map(({ body }) => (body as { epoch: string }).epoch)).size).toBe(1);
  const rows = await rowsOf(world.db, "select id from rooms where tenant_id = ? and kind = 'direct'", [
    tenant.row.id,
  ]);
  expect(rows).toHaveLength(1);
  expect(await ada("GET", "/v1/rooms/direct/ada~bob/members")).toMatchObject({
    body: {
      items: [
        { user: "ada", role: "member" },
        { user: "bob", role: "member" },
      ],
    },
  });
});

test("opening a room with an unknown user, with myself and with something else is refused with the field's name", async () => {
  const unknown = await open(ada, "nobody");
  expect(unknown).toMatchObject({
    status: 422,
    body: {
      code: "invalid",
      errors: [{ path: "user", message: "names a user who does not exist: nobody" }],
    },
  });
  expect(await open(ada, "ada")).toMatchObject({ status: 422, body: { errors: [{ path: "user" }] } });
  for (const user of [17, "", "a b", null]) expect((await open(ada, user)).status).toBe(422);
  const other = await world.tenant("direct-other");
  await other.server("PUT", "/v1/users/zoe");
  expect((await open(ada, "zoe")).body).toMatchObject({
    errors: [{ message: "names a user who does not exist: zoe" }],
  });
});

test("both have a member's rights in their direct room, and neither removes the other or leaves", async () => {
  await open(ada, "bob");
  const room = "/v1/rooms/direct/ada~bob";
  for (const ask of [ada, bob])
    expect((await ask("POST", `${room}/messages`, { body: { text: "hello" } })).status).toBeLessThan(300);
  const sent = (await ada("POST", `${room}/messages`, { body: { text: "of ada" } })).body as { id: string };
  expect((await bob("DELETE", `${room}/messages/${sent.id}`)).status).toBe(403);
  expect((await ada("DELETE", `${room}/members/bob`)).status).toBeGreaterThanOrEqual(400);
  expect((await bob("DELETE", `${room}/members/ada`)).status).toBeGreaterThanOrEqual(400);
  expect((await ada("POST", `${room}/leave`)).status).toBeGreaterThanOrEqual(400);
  expect(await ada("GET", `${room}/members`)).toMatchObject({
    body: { items: [{ user: "ada" }, { user: "bob" }] },
  });
  expect((await (await tenant.user("cleo"))("GET", room)).status).toBe(404);
});

test("a role that the backend gives in a direct room gives no rights over the other", async () => {
  await tenant.server("PUT", "/v1/rooms/direct/ada~cleo", {
    body: { members: [{ user: "ada", role: "owner" }] },
  });
  const cleo = await tenant.user("cleo");
  const room = "/v1/rooms/direct/ada~cleo";
  const sent = (await cleo("POST", `${room}/messages`, { body: { text: "of cleo" } })).body as { id: string };
  expect((await ada("DELETE", `${room}/messages/${sent.id}`)).status).toBe(403);
  expect((await ada("DELETE", `${room}/members/cleo`)).status).toBeGreaterThanOrEqual(400);
});

test("a room that lost a member by hand is whole again when one of the two opens it", async () => {
  await open(ada, "bob");
  await tenant.server("DELETE", "/v1/rooms/direct/ada~bob/members/bob");
  await open(ada, "bob");
  expect(await bob("GET", "/v1/rooms/direct/ada~bob")).toMatchObject({ status: 200, body: { members: 2 } });
});
