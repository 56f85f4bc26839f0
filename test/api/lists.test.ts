import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { setTenantLimits } from "../../shared/db/tenants/tenants.ts";
import { openApiWorld, type Ask, type ApiWorld, type TestTenant } from "../support/api.ts";

let world: ApiWorld;
let tenant: TestTenant;
let tenants = 0;

beforeAll(async () => {
  world = await openApiWorld();
  tenant = await world.tenant("lists");
});
afterAll(() => world.close());

type Listed = { user: string; room: string; status: string };
type Page<T = Listed> = { items: T[]; next: string | null };

/** All items of a list, page by page, and how many pages there were. */
async function readAll(ask: Ask, path: string, limit: number): Promise<{ items: Listed[]; pages: number }> {
  const items: Listed[] = [];
  let cursor: string | null = null;
  let pages = 0;
  do {
    const mark = path.includes("?") ? "&" : "?";
    const at: string = `${path}${mark}limit=${limit}${cursor === null ? "" : `&cursor=${cursor}`}`;
    const { status, body } = await ask("GET", at);
    expect(status).toBe(200);
    const page = body as Page;
    expect(page.items.length).toBeLessThanOrEqual(limit);
    items.push(...page.items);
    cursor = page.next;
    pages += 1;
  } while (cursor !== null);
  return { items, pages };
}

test("a backend reads all users in pages, each once, without those who are deleted", async () => {
  const own = await world.tenant(`users-${++tenants}`);
  const names = ["zoe", "Ada", "b.b", "bob", "carl", "~"].filter((name) => name !== "~");
  await own.server("POST", "/v1/users", { body: { users: names.map((user) => ({ user })) } });
  await own.server("PUT", "/v1/users/gone");
  await own.server("DELETE", "/v1/users/gone");
  const { items, pages } = await readAll(own.server, "/v1/users", 2);
  expect(pages).toBe(3);
  expect(items.map(({ user }) => user).sort()).toEqual([...names].sort());
  expect(items[0]).toMatchObject({ status: "pending", displayName: null });
});

test("a backend reads all rooms in pages, and those of one kind", async () => {
  const own = await world.tenant(`rooms-${++tenants}`);
  for (const slug of ["c", "a", "b"])
    await own.server("PUT", `/v1/rooms/group/${slug}`, { body: { name: slug } });
  await own.server("PUT", "/v1/rooms/event/e", { body: { name: "E", visibility: "public", join: "open" } });
  await own.server("PUT", "/v1/rooms/direct", { body: { users: ["ada", "bob"] } });
  await own.server("DELETE", "/v1/rooms/group/c");
  const keys = async (query: string) =>
    (await readAll(own.server, `/v1/rooms${query}`, 1)).items.map(({ room }) => room);
  expect(await keys("")).toEqual(["direct:ada~bob", "event:e", "group:a", "group:b"]);
  expect(await keys("?kind=group")).toEqual(["group:a", "group:b"]);
  expect(await own.server("GET", "/v1/rooms/event/e")).toMatchObject({ body: { join: "open" } });
});

test("a backend reads a user's rooms as the user sees them", async () => {
  const own = await world.tenant(`rooms-of-${++tenants}`);
  for (const slug of ["one", "two", "three"]) {
    const members = slug === "two" ? [] : [{ user: "ada", role: "speaker" }];
    await own.server("PUT", `/v1/rooms/group/${slug}`, { body: { name: slug, members } });
  }
  const { items } = await readAll(own.server, "/v1/users/ada/rooms", 1);
  const mine = await readAll(await own.user("ada"), "/v1/me/rooms", 100);
  expect(items.map(({ room }) => room)).toEqual(["group:three", "group:one"]);
  expect(items).toEqual(mine.items);
  expect(await own.server("GET", "/v1/users/nobody/rooms")).toMatchObject({ status: 404 });
});

test("a list refuses a cursor that no page returned, and a limit beyond 100", async () => {
  for (const path of ["/v1/users", "/v1/rooms", "/v1/users/ada/rooms"]) {
    await tenant.server("PUT", "/v1/users/ada");
    expect(await tenant.server("GET", `${path}?cursor=bm9uc2Vuc2Uh`)).toMatchObject({ status: 422 });
    expect(await tenant.server("GET", `${path}?limit=101`)).toMatchObject({ status: 422 });
  }
});

test("a backend makes and changes a thousand users in one call", async () => {
  const own = await world.tenant(`bulk-${++tenants}`);
  await own.server("PUT", "/v1/users/kept", {
    body: { displayName: "Kept", avatar: "https://example.org/k.png" },
  });
  const made = Array.from({ length: 999 }, (_, index) => ({
    user: `person-${index}`,
    displayName: `Person ${index} ${"x".repeat(60)}`,
  }));
  const reply = await own.server("POST", "/v1/users", {
    body: { users: [{ user: "kept", displayName: "Changed" }, ...made] },
  });
  expect(reply.status).toBe(202);
  const { items } = reply.body as Page<{ user: string }>;
  expect(items.map(({ user }) => user)).toEqual(["kept", ...made.map(({ user }) => user)]);
  expect(items[0]).toMatchObject({ displayName: "Changed", avatar: "https://example.org/k.png" });
  await world.db.raw(
    "update users set status = 'ready', applied_version = desired_version, next_attempt_at = null",
  );
  const again = await own.server("POST", "/v1/users", { body: { users: made } });
  expect(again.status).toBe(200);
  const cleared = await own.server("POST", "/v1/users", {
    body: { users: [{ user: "kept", avatar: null }] },
  });
  expect(cleared).toMatchObject({ status: 202, body: { items: [{ displayName: "Changed", avatar: null }] } });
});

test("a bulk call with one invalid user makes none, and says which it is", async () => {
  const own = await world.tenant(`invalid-${++tenants}`);
  const users = [{ user: "fine" }, { user: "not fine" }];
  expect(await own.server("POST", "/v1/users", { body: { users } })).toMatchObject({
    status: 422,
    body: { errors: [{ path: "users.1.user" }] },
  });
  const twice = [{ user: "ada" }, { user: "ada", displayName: "A" }];
  expect(await own.server("POST", "/v1/users", { body: { users: twice } })).toMatchObject({
    status: 422,
    body: { errors: [{ path: "users", message: "names a user twice" }] },
  });
  const many = Array.from({ length: 1_001 }, (_, index) => ({ user: `u${index}` }));
  expect(await own.server("POST", "/v1/users", { body: { users: many } })).toMatchObject({ status: 422 });
  expect(await own.server("POST", "/v1/users", { raw: " ".repeat(1_100_000) })).toMatchObject({
    status: 413,
  });
  expect(await own.server("GET", "/v1/users")).toMatchObject({ body: { items: [] } });
});

test("a tenant over its limit of pending users gets 503 for a bulk call, which makes none", async () => {
  const slug = `pending-${++tenants}`;
  const own = await world.tenant(slug);
  await setTenantLimits(world.db, slug, { pendingUsers: 2 });
  const users = ["a", "b", "c"].map((user) => ({ user }));
  const refused = await own.server("POST", "/v1/users", { body: { users } });
  expect(refused).toMatchObject({ status: 503 });
  expect(refused.headers.get("retry-after")).not.toBeNull();
  expect(await own.server("GET", "/v1/users")).toMatchObject({ body: { items: [] } });
});

test("bulk calls that name the same users at once make each user once", async () => {
  const own = await world.tenant(`at-once-${++tenants}`);
  const users = Array.from({ length: 50 }, (_, index) => ({ user: `u${index}`, displayName: "D" }));
  const replies = await Promise.all(
    Array.from({ length: 8 }, (_, index) =>
      own.server("POST", "/v1/users", { body: { users: index % 2 === 0 ? users : [...users].reverse() } }),
    ),
  );
  expect(new Set(replies.map(({ status }) => status))).toEqual(new Set([202]));
  expect(await own.server("GET", "/v1/users?limit=100")).toMatchObject({ body: { items: { length: 50 } } });
});

async function readEntries(slug: string, after: number): Promise<string[]> {
  const { rows } = await world.db.raw<{ rows: { type: string; who: string | null }[] }>(
    `select e.type, u.external_id as who from timeline e join rooms r on r.id = e.room_id left join users u on u.id = e.sender_id
      where r.slug = ? and e.number > ? order by e.number`,
    [slug, after],
  );
  return rows.map(({ type, who }) => (who === null ? type : `${type} ${who}`));
}

test("replacing a room's members adds, changes and removes people in one call", async () => {
  const room = "/v1/rooms/group/replaced";
  const before = [{ user: "ada", role: "owner" }, { user: "bob" }, { user: "carl" }];
  await tenant.server("PUT", room, { body: { name: "R", members: before } });
  const carl = await tenant.user("carl");
  await carl("POST", `${room}/messages`, { body: { text: "never sent" } });
  const members = [{ user: "ada", role: "owner" }, { user: "bob", role: "speaker" }, { user: "dora" }];
  const reply = await tenant.server("PUT", `${room}/members`, { body: { members } });
  expect(reply).toMatchObject({ status: 202, body: { members: 3, added: 1, changed: 1, removed: 1 } });
  expect(reply.headers.get("location")).toBe(`${room}/members`);
  const listed = await tenant.server("GET", `${room}/members`);
  expect(
    (listed.body as Page<{ user: string; role: string }>).items.map(({ user, role }) => `${user} ${role}`),
  ).toEqual(["ada owner", "bob speaker", "dora member"]);
  expect(await tenant.server("GET", room)).toMatchObject({ body: { members: 3 } });
  expect((await readEntries("replaced", 4)).sort()).toEqual([
    "member.changed bob",
    "member.joined dora",
    "member.left carl",
    "message.failed",
  ]);
  const notices = await world
    .db("notices")
    .join("users", "users.id", "notices.user_id")
    .where({ external_id: "carl" });
  expect(notices.map((row: { kind: string }) => row.kind)).toContain("room.removed");
  expect((await carl("GET", `${room}/messages`)).status).toBe(404);
  expect(await tenant.server("PUT", `${room}/members`, { body: { members } })).toMatchObject({
    status: 200,
    body: { members: 3, added: 0, changed: 0, removed: 0 },
  });
});

test("replacing members frees the places of those who lose a role before others get one", async () => {
  const room = "/v1/rooms/group/full";
  await tenant.server("PUT", room, { body: { name: "F" } });
  const speakers = (prefix: string) =>
    Array.from({ length: 1_000 }, (_, index) => ({ user: `${prefix}-${index}`, role: "speaker" }));
  expect(await tenant.server("PUT", `${room}/members`, { body: { members: speakers("a") } })).toMatchObject({
    status: 202,
  });
  const reply = await tenant.server("PUT", `${room}/members`, { body: { members: speakers("b") } });
  expect(reply).toMatchObject({ status: 202, body: { added: 1_000, removed: 1_000 } });
  // A big room has one entry with the count for those who left, and one for those who came.
  expect(await readEntries("full", 1)).toEqual(["room.changed", "room.changed"]);
  expect(await tenant.server("GET", room)).toMatchObject({ body: { members: 1_000 } });
});

test("five thousand members are replaced in one call, and more are refused", async () => {
  const own = await world.tenant(`many-${++tenants}`);
  await setTenantLimits(world.db, own.row.slug, { pendingUsers: 20_000 });
  const room = "/v1/rooms/event/many";
  await own.server("PUT", room, { body: { name: "M" } });
  const members = Array.from({ length: 5_000 }, (_, index) => ({ user: `m-${index}` }));
  const reply = await own.server("PUT", `${room}/members`, { body: { members } });
  expect(reply).toMatchObject({ status: 202, body: { members: 5_000, added: 5_000 } });
  const more = [...members, { user: "one-more" }];
  expect(await own.server("PUT", `${room}/members`, { body: { members: more } })).toMatchObject({
    status: 422,
  });
});

test("a direct room's members are its pair: another list is a conflict", async () => {
  await tenant.server("PUT", "/v1/rooms/direct", { body: { users: ["ada", "bob"] } });
  const put = (members: object[]) =>
    tenant.server("PUT", "/v1/rooms/direct/ada~bob/members", { body: { members } });
  expect(await put([{ user: "ada" }])).toMatchObject({ status: 409, body: { code: "conflict" } });
  expect(await put([{ user: "ada" }, { user: "carl" }])).toMatchObject({ status: 409 });
  expect(await put([{ user: "ada" }, { user: "bob" }])).toMatchObject({ status: 200, body: { members: 2 } });
  expect(
    await tenant.server("PUT", "/v1/rooms/group/nowhere/members", { body: { members: [] } }),
  ).toMatchObject({
    status: 404,
  });
});
