import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { markProfileApplied } from "../../shared/db/users/user-provisioning.ts";
import { User } from "../../shared/db/users/users.ts";
import { openApiWorld, type ApiWorld, type TestTenant } from "../support/api.ts";

let world: ApiWorld;
let tenant: TestTenant;
const room = "/v1/rooms/group/mine";

beforeAll(async () => {
  world = await openApiWorld();
  tenant = await world.tenant("people");
  await tenant.server("PUT", "/v1/users/ada", { body: { displayName: "Ada" } });
  await tenant.server("PUT", room, { body: { name: "M", members: [{ user: "ada" }, { user: "bob" }] } });
});
afterAll(() => world.close());

const SETTINGS = "/v1/me/rooms/group/mine";
const DEFAULTS = { notify: "all", mutedUntil: null, pinned: false, archived: false };

test("a person's settings of a room are kept, and nobody else has them", async () => {
  const ada = await tenant.user("ada");
  const body = { notify: "mentions", mutedUntil: "2030-01-01T01:00:00+01:00", pinned: true, archived: true };
  const settings = { ...body, mutedUntil: "2030-01-01T00:00:00.000Z" };
  expect(await ada("PUT", SETTINGS, { body })).toMatchObject({
    status: 200,
    body: { room: "group:mine", settings },
  });
  const mine = async (user: string) =>
    ((await (await tenant.user(user))("GET", "/v1/me/rooms")).body as { items: { settings: object }[] })
      .items[0]?.settings;
  expect(await mine("ada")).toEqual(settings);
  expect(await mine("bob")).toEqual(DEFAULTS);
  expect(await ada("PUT", SETTINGS, { body: {} })).toMatchObject({ body: { settings: DEFAULTS } });
  expect(await mine("ada")).toEqual(DEFAULTS);
});

test("settings that are not valid are refused, and those of a room that the person is not in", async () => {
  const ada = await tenant.user("ada");
  for (const body of [{ notify: "some" }, { mutedUntil: "tomorrow" }, { pinned: 1 }, { muted: true }])
    expect((await ada("PUT", SETTINGS, { body })).status).toBe(422);
  await tenant.server("PUT", "/v1/rooms/group/others", { body: { name: "O", visibility: "public" } });
  expect((await ada("PUT", "/v1/me/rooms/group/others", { body: {} })).status).toBe(404);
});

test("a person reads who they are and what is unread, without what they muted", async () => {
  const [ada, bob] = [await tenant.user("ada"), await tenant.user("bob")];
  await bob("POST", `${room}/messages`, { body: { text: "hello" } });
  const me = { user: "ada", displayName: "Ada", avatar: null, mentions: 0 };
  expect((await ada("GET", "/v1/me")).body).toEqual({ ...me, unread: 1 });
  await ada("PUT", SETTINGS, { body: { notify: "none" } });
  expect((await ada("GET", "/v1/me")).body).toEqual({ ...me, unread: 0 });
  await ada("PUT", SETTINGS, { body: {} });
  expect((await ada("GET", "/v1/me")).body).toEqual({ ...me, unread: 1 });
});

test("a person opens a direct room with somebody, from either side the same one", async () => {
  const [ada, bob] = [await tenant.user("ada"), await tenant.user("bob")];
  const opened = await ada("PUT", "/v1/rooms/direct", { body: { user: "bob" } });
  expect(opened).toMatchObject({
    status: 202,
    body: { room: "direct:ada~bob", visibility: "private", members: 2 },
  });
  expect(await bob("PUT", "/v1/rooms/direct", { body: { user: "ada" } })).toMatchObject({
    status: 202,
    body: { room: "direct:ada~bob", offset: 2 },
  });
  expect((await bob("POST", "/v1/rooms/direct/ada~bob/messages", { body: { text: "hi" } })).status).toBe(202);
});

test("a person opens no direct room alone, or with somebody who does not exist, and makes no user by it", async () => {
  const ada = await tenant.user("ada");
  const open = (body: object) => ada("PUT", "/v1/rooms/direct", { body });
  expect(await open({ user: "ada" })).toMatchObject({ status: 422, body: { errors: [{ path: "user" }] } });
  expect(await open({ user: "nobody" })).toMatchObject({ status: 422, body: { errors: [{ path: "user" }] } });
  expect(await open({ users: ["ada", "bob"] })).toMatchObject({ status: 422 });
  expect(await tenant.server("PUT", "/v1/rooms/direct", { body: { user: "bob" } })).toMatchObject({
    status: 422,
  });
  expect((await tenant.server("GET", "/v1/users/nobody")).status).toBe(404);
  const others = await tenant.server("GET", "/v1/rooms?kind=direct");
  expect((others.body as { items: object[] }).items).toHaveLength(1);
});

test("a locked user's calls are refused until the user is unlocked, and the user stays a member", async () => {
  await tenant.server("PUT", `${room}/members/lou`);
  const lou = await tenant.user("lou");
  expect((await lou("GET", "/v1/me")).status).toBe(200);
  expect(await tenant.server("PUT", "/v1/users/lou/lock")).toMatchObject({
    status: 200,
    body: { status: "locked" },
  });
  const calls: [string, string, object?][] = [
    ["GET", "/v1/me"],
    ["GET", "/v1/me/rooms"],
    ["GET", "/v1/rooms"],
    ["GET", room],
    ["GET", `${room}/members`],
    ["GET", `${room}/messages`],
    ["POST", `${room}/messages`, { text: "x" }],
    ["POST", `${room}/leave`],
    ["POST", `${room}/join`],
    ["PUT", SETTINGS, {}],
    ["PUT", "/v1/rooms/direct", { user: "ada" }],
  ];
  for (const [method, path, body] of calls)
    expect([method, path, (await lou(method, path, { body })).status]).toEqual([method, path, 403]);
  expect((await tenant.server("POST", "/v1/users/lou/tokens")).status).toBe(403);
  expect(await tenant.server("GET", `${room}/members/lou`)).toMatchObject({ body: { role: "member" } });
  expect(await tenant.server("DELETE", "/v1/users/lou/lock")).toMatchObject({ body: { status: "pending" } });
  expect((await lou("GET", `${room}/messages`)).status).toBe(200);
});

test("a locked user stays locked while the account on Matrix is made and changed", async () => {
  await tenant.server("PUT", "/v1/users/stays");
  const user = await User.query(world.db).findOne({ external_id: "stays" }).throwIfNotFound();
  for (let call = 0; call < 2; call++) await tenant.server("PUT", "/v1/users/stays/lock");
  expect(await tenant.server("PATCH", "/v1/users/stays", { body: { displayName: "S" } })).toMatchObject({
    body: { displayName: "S", status: "locked" },
  });
  await markProfileApplied(world.db, tenant.row.id, user.id, 2);
  expect(await tenant.server("GET", "/v1/users/stays")).toMatchObject({ body: { status: "locked" } });
  for (let call = 0; call < 2; call++)
    expect(await tenant.server("DELETE", "/v1/users/stays/lock")).toMatchObject({
      status: 200,
      body: { status: "ready" },
    });
  const ends = await world.db("notices").where({ user_id: user.id, kind: "user.gone" });
  expect(ends.length).toBeLessThanOrEqual(1);
  expect(await tenant.server("PUT", "/v1/users/nobody/lock")).toMatchObject({ status: 404 });
  expect(await tenant.server("DELETE", "/v1/users/nobody/lock")).toMatchObject({ status: 404 });
});
