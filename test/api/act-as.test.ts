import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { setTenantLimits } from "../../shared/db/tenants/tenants.ts";
import { openApiWorld, type ApiWorld, type TestTenant } from "../support/api.ts";

let world: ApiWorld;
let tenant: TestTenant;
const room = "/v1/rooms/group/acting";

beforeAll(async () => {
  world = await openApiWorld();
  tenant = await world.tenant("act-as");
  const members = [{ user: "ada" }, { user: "guest", role: "guest" }];
  await tenant.server("PUT", room, { body: { name: "A", members } });
  await tenant.server("PUT", "/v1/users/outsider");
});
afterAll(() => world.close());

const as = (user: string) => ({ headers: { "act-as": user } });

test("a server key posts as a person, who is the sender", async () => {
  const posted = await tenant.server("POST", `${room}/messages`, { body: { text: "hello" }, ...as("ada") });
  expect(posted).toMatchObject({ status: 202, body: { text: "hello", sender: { user: "ada" } } });
  const ada = await tenant.user("ada");
  expect(await ada("GET", `${room}/messages`)).toMatchObject({ body: { items: [{ text: "hello" }] } });
  expect(await tenant.server("GET", "/v1/me/rooms", as("ada"))).toMatchObject({
    status: 200,
    body: { items: [{ room: "group:acting" }] },
  });
  expect(await tenant.server("GET", "/v1/me", as("ada"))).toMatchObject({ body: { user: "ada" } });
});

test("a server key that acts as a person has that person's rights", async () => {
  const post = (user: string) =>
    tenant.server("POST", `${room}/messages`, { body: { text: "x" }, ...as(user) });
  expect(await post("guest")).toMatchObject({ status: 403, body: { code: "forbidden" } });
  expect(await post("outsider")).toMatchObject({ status: 404 });
  // Of the two routes of the path it gets the person's: a private room is hidden from one who is not in it.
  expect(await tenant.server("GET", room)).toMatchObject({ status: 200 });
  expect(await tenant.server("GET", room, as("outsider"))).toMatchObject({ status: 404 });
});

test("a server key cannot act as a user who does not exist, or by a call that is not for users", async () => {
  for (const user of ["nobody", "not a user id"])
    expect(await tenant.server("GET", "/v1/me/rooms", as(user))).toMatchObject({
      status: 404,
      body: { code: "not_found", detail: "There is no such user." },
    });
  expect(await tenant.server("PUT", "/v1/users/made", as("ada"))).toMatchObject({
    status: 422,
    body: { errors: [{ path: "Act-As" }] },
  });
  expect(await tenant.server("GET", "/v1/users/made")).toMatchObject({ status: 404 });
});

test("no other credential can act as somebody", async () => {
  const ada = await tenant.user("ada");
  expect(await ada("GET", "/v1/me/rooms", as("guest"))).toMatchObject({
    status: 403,
    body: { code: "wrong_credential" },
  });
  for (const role of ["operator", "viewer"] as const) {
    const ask = world.as((await tenant.key(role)).key);
    expect(await ask("GET", "/v1/me/rooms", as("ada"))).toMatchObject({ status: 403 });
  }
});

test("a revocation of tokens does not keep the key from acting, and the lock of the person does", async () => {
  await tenant.server("PUT", "/v1/users/locked");
  await tenant.server("DELETE", "/v1/users/locked/tokens");
  expect(await tenant.server("GET", "/v1/me", as("locked"))).toMatchObject({ status: 200 });
  await tenant.server("PUT", "/v1/users/locked/lock");
  expect(await tenant.server("GET", "/v1/me", as("locked"))).toMatchObject({ status: 403 });
});

test("what a key does as a person is audited as the key's, once in an hour for each call and person", async () => {
  const { id, key } = await tenant.key("server");
  const ask = world.as(key);
  await ask("POST", `${room}/messages`, { body: { text: "1" }, ...as("ada") });
  await ask("POST", `${room}/messages`, { body: { text: "2" }, ...as("ada") });
  await ask("GET", `${room}/messages`, as("ada"));
  const rows = await world
    .db("audit")
    .where({ actor: id })
    .orderBy("at")
    .select("tenant_id", "action", "subject");
  expect(rows).toEqual(
    ["POST", "GET"].map((method) => ({
      tenant_id: tenant.row.id,
      action: `as user: ${method} /v1/rooms/{kind}/{slug}/messages`,
      subject: "ada",
    })),
  );
});

test("the calls of a key that acts count under the key, not under the person", async () => {
  const own = await world.tenant("act-as-limits");
  await own.server("PUT", "/v1/users/ada");
  await setTenantLimits(world.db, "act-as-limits", { userRequests: 1, keyRequests: 1_000 });
  await new Promise((resolve) => setTimeout(resolve, 1_100)); // The limits of a tenant are cached for a second.
  for (let call = 0; call < 5; call++)
    expect((await own.server("GET", "/v1/me", as("ada"))).status).toBe(200);
  const ada = await own.user("ada");
  const statuses = [await ada("GET", "/v1/me"), await ada("GET", "/v1/me")].map(({ status }) => status);
  expect(statuses).toEqual([200, 429]);
});
