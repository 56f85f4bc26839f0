import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { maxRoles } from "../../shared/contract/role-limit.ts";
import { setTenantLimits } from "../../shared/db/tenants/tenants.ts";
import { countRows, openApiWorld, type ApiWorld, type TestTenant } from "../support/api.ts";
import { until } from "../support/wait.ts";

let world: ApiWorld;
let tenant: TestTenant;

beforeAll(async () => {
  world = await openApiWorld();
  tenant = await world.tenant("members");
});
afterAll(() => world.close());

async function makeRoom(slug: string, members: { user: string; role?: string }[] = []): Promise<string> {
  await tenant.server("PUT", `/v1/rooms/group/${slug}`, { body: { name: slug, members } });
  return `/v1/rooms/group/${slug}`;
}

async function readEntryTypes(slug: string): Promise<string[]> {
  const { rows } = await world.db.raw<{ rows: { type: string }[] }>(
    "select e.type from timeline e join rooms r on r.id = e.room_id where r.slug = ? order by e.number",
    [slug],
  );
  return rows.map(({ type }) => type);
}

test("adding, changing and removing a member make one entry each, and a repetition makes none", async () => {
  const room = await makeRoom("steps");
  const added = await tenant.server("PUT", `${room}/members/ada`, { body: { role: "speaker" } });
  expect(added).toMatchObject({ status: 202, body: { user: "ada", role: "speaker", status: "pending" } });
  expect(added.headers.get("location")).toBe(`${room}/members/ada`);
  await tenant.server("PUT", `${room}/members/ada`, { body: { role: "speaker" } });
  await tenant.server("PUT", `${room}/members/ada`, { body: { role: "admin" } });
  await tenant.server("DELETE", `${room}/members/ada`);
  await tenant.server("DELETE", `${room}/members/ada`);
  expect(await readEntryTypes("steps")).toEqual(["member.joined", "member.changed", "member.left"]);
  expect(await tenant.server("GET", room)).toMatchObject({ body: { members: 0 } });
  expect(await tenant.server("GET", `${room}/members`)).toMatchObject({ body: { items: [], next: null } });
});

test("a removal is final when Matrix has it, and a repetition returns that", async () => {
  const room = await makeRoom("final", [{ user: "ada" }]);
  await tenant.server("DELETE", `${room}/members/ada`);
  await world.db.raw("update memberships set applied_version = version where desired = 'out'");
  const reply = await tenant.server("DELETE", `${room}/members/ada`);
  expect(reply).toMatchObject({ status: 200, body: { status: "removed" } });
  expect(await tenant.server("DELETE", `${room}/members/never`)).toMatchObject({
    status: 200,
    body: { status: "removed" },
  });
});

test("a PUT of a member without a body adds the member, and leaves the role of a present one", async () => {
  const room = await makeRoom("bodiless", [{ user: "ada", role: "owner" }]);
  expect(await tenant.server("PUT", `${room}/members/ada`)).toMatchObject({ body: { role: "owner" } });
  expect(await tenant.server("PUT", `${room}/members/bob`)).toMatchObject({
    status: 202,
    body: { user: "bob", role: "member" },
  });
  expect(await tenant.server("PUT", `${room}/members/ada`, { body: {} })).toMatchObject({
    body: { role: "member" },
  });
  await tenant.server("PUT", `${room}/members/ada`, { body: { role: "owner" } });
  await tenant.server("DELETE", `${room}/members/ada`);
  expect(await tenant.server("PUT", `${room}/members/ada`)).toMatchObject({ body: { role: "member" } });
  expect(await readEntryTypes("bodiless")).toEqual([
    "member.joined",
    "member.joined",
    "member.changed",
    "member.changed",
    "member.left",
    "member.joined",
  ]);
});

test("a repeated PUT of a direct room leaves the roles of its two people", async () => {
  const room = "/v1/rooms/direct/ada~bob";
  await tenant.server("PUT", room, { body: { members: [{ user: "ada", role: "guest" }] } });
  await tenant.server("PUT", room);
  await tenant.server("PUT", "/v1/rooms/direct", { body: { users: ["bob", "ada"] } });
  expect(await tenant.server("GET", `${room}/members`)).toMatchObject({
    body: {
      items: [
        { user: "ada", role: "guest" },
        { user: "bob", role: "member" },
      ],
    },
  });
});

describe("a tenant that refuses unknown users", () => {
  const refusal = (places: Record<string, string>) => ({
    status: 422,
    body: {
      code: "invalid",
      errors: Object.entries(places).map(([path, user]) => ({
        path,
        message: `names a user who does not exist: ${user}`,
      })),
    },
  });
  let strict: TestTenant;

  beforeAll(async () => {
    strict = await world.tenant("strict");
    await setTenantLimits(world.db, "strict", { unknownUsers: "refuse" });
    await strict.server("PUT", "/v1/users/ada", { body: { displayName: "Ada" } });
    await strict.server("PUT", "/v1/users/bob");
    await strict.server("PUT", "/v1/users/gone");
    await strict.server("DELETE", "/v1/users/gone");
    await strict.server("PUT", "/v1/rooms/group/known", { body: { name: "K", members: [{ user: "ada" }] } });
  });

  const members = [{ user: "new-1" }, { user: "ada" }, { user: "gone" }];
  const inMembers = { "members.0.user": "new-1", "members.2.user": "gone" };

  test.each<[string, string, string, object | undefined, Record<string, string>]>([
    ["a PUT of a new room", "PUT", "/v1/rooms/group/new", { name: "N", members }, inMembers],
    ["a PUT of a room", "PUT", "/v1/rooms/group/known", { name: "K", members }, inMembers],
    ["a POST of members", "POST", "/v1/rooms/group/known/members", { members }, inMembers],
    ["a PUT of a member", "PUT", "/v1/rooms/group/known/members/new-1", undefined, { user: "new-1" }],
    ["a direct room", "PUT", "/v1/rooms/direct", { users: ["new-1", "ada"] }, { "users.0": "new-1" }],
    ["a direct room's path", "PUT", "/v1/rooms/direct/ada~new-1", undefined, { slug: "new-1" }],
    [
      "a direct room's list",
      "PUT",
      "/v1/rooms/direct/ada~new-1",
      { members: [{ user: "new-1", role: "guest" }] },
      { "members.0.user": "new-1" },
    ],
  ])("names each unknown user of %s, and makes nothing", async (_what, method, path, body, places) => {
    const { users, rooms, memberships } = await countRows(world.db);
    const options = body === undefined ? {} : { body };
    expect(await strict.server(method, path, options)).toMatchObject(refusal(places));
    expect(await countRows(world.db)).toMatchObject({ users, rooms, memberships });
  });

  test("has rooms of known users, and names a thousand unknown ones", async () => {
    const known = await strict.server("PUT", "/v1/rooms/direct", { body: { users: ["ada", "bob"] } });
    expect(known).toMatchObject({ status: 202, body: { members: 2 } });
    const many = Array.from({ length: 1_000 }, (_, index) => ({ user: `u-${index}` }));
    const refused = await strict.server("POST", "/v1/rooms/group/known/members", { body: { members: many } });
    expect((refused.body as { errors: unknown[] }).errors).toHaveLength(1_000);
  });
});

test("fifty quick changes of one member end in the state of the last request", async () => {
  const room = await makeRoom("toggled");
  for (let round = 0; round < 50; round++) {
    const reply = await tenant.server(round % 2 ? "DELETE" : "PUT", `${room}/members/ada`);
    expect(reply.status).toBe(202);
  }
  expect(await tenant.server("GET", `${room}/members`)).toMatchObject({ body: { items: [] } });
  expect(await tenant.server("GET", room)).toMatchObject({ body: { members: 0, offset: 50 } });
  await tenant.server("PUT", `${room}/members/ada`);
  expect(await tenant.server("GET", room)).toMatchObject({ body: { members: 1, offset: 51 } });
});

test("the member count is right after fifty simultaneous changes", async () => {
  const room = await makeRoom("race");
  await Promise.all(
    Array.from({ length: 50 }, (_, index) =>
      tenant.server(index % 2 ? "DELETE" : "PUT", `${room}/members/ada`),
    ),
  );
  const { body } = await tenant.server("GET", `${room}/members`);
  const { length } = (body as { items: unknown[] }).items;
  expect(await tenant.server("GET", room)).toMatchObject({ body: { members: length } });
  const types = await readEntryTypes("race");
  expect(types.every((type, index) => type === (index % 2 ? "member.left" : "member.joined"))).toBe(true);
});

test("a thousand members are added in one request, in a big room with one entry", async () => {
  const room = await makeRoom("big");
  const members = Array.from({ length: 1_000 }, (_, index) => ({ user: `guest-${index}`, role: "guest" }));
  const reply = await tenant.server("POST", `${room}/members`, { body: { members } });
  expect(reply.status).toBe(202);
  expect((reply.body as { items: unknown[] }).items).toHaveLength(1_000);
  expect(await readEntryTypes("big")).toEqual(["room.changed"]);
  expect(await tenant.server("GET", room)).toMatchObject({ body: { members: 1_000, offset: 1 } });
});

test("a request with too many roles is refused and adds no member", async () => {
  const room = await makeRoom("roles");
  const members = Array.from({ length: 1_000 }, (_, index) => ({
    user: `speaker-${index}`,
    role: "speaker",
  }));
  expect((await tenant.server("POST", `${room}/members`, { body: { members } })).status).toBe(202);
  const more = { members: [{ user: "one-more", role: "speaker" }, { user: "plain" }] };
  const refused = await tenant.server("POST", `${room}/members`, { body: more });
  expect(refused).toMatchObject({ status: 409, body: { code: "too_many_roles" } });
  expect(await tenant.server("GET", room)).toMatchObject({ body: { members: 1_000 } });
  expect((await tenant.server("GET", "/v1/users/one-more")).status).toBe(404);
  expect((await tenant.server("PUT", `${room}/members/plain`)).status).toBe(202);
});

test("fewer roles fit where the homeserver has a long name; a room that has more already may lose some", async () => {
  const renameHomeserver = (name: string) => world.db.raw("update homeservers set server_name = ?", [name]);
  const room = await makeRoom("long-name");
  const post = (names: readonly string[], role: string) =>
    tenant.server("POST", `${room}/members`, { body: { members: names.map((user) => ({ user, role })) } });
  const names = (from: number, to: number) =>
    Array.from({ length: to - from }, (_, index) => `speaker-${from + index}`);
  try {
    await renameHomeserver("h".repeat(33));
    const most = maxRoles("h".repeat(33));
    expect(most).toBeLessThan(1_000);
    expect((await post(names(0, most), "speaker")).status).toBe(202);
    const refused = await post(["one-more"], "moderator");
    expect(refused).toMatchObject({
      status: 409,
      body: { code: "too_many_roles", detail: expect.stringContaining(` ${most} members`) },
    });

    await renameHomeserver("h".repeat(60));
    expect((await post(names(0, 1), "admin")).status).toBe(202);
    expect((await post(names(1, 2), "member")).status).toBe(202);
    expect((await post(["plain"], "member")).status).toBe(202);
    expect(await post(names(1, 2), "speaker")).toMatchObject({ status: 409 });
  } finally {
    await renameHomeserver("hs.test");
  }
});

test("a member list continues where the page before ended", async () => {
  const names = ["Zoe", "ada", "bob", "cy", "dan"];
  const room = await makeRoom(
    "paged",
    names.map((user) => ({ user })),
  );
  const seen: string[] = [];
  let next: string | null = null;
  do {
    const cursor: string = next === null ? "" : `&cursor=${next}`;
    const { body } = await tenant.server("GET", `${room}/members?limit=2${cursor}`);
    const page = body as { items: { user: string }[]; next: string | null };
    seen.push(...page.items.map(({ user }) => user));
    next = page.next;
  } while (next !== null);
  expect(seen).toEqual(names);
});

test("a removed member can no longer read, and the member's queued messages are dead", async () => {
  const room = await makeRoom("removed", [{ user: "ada" }, { user: "bob" }]);
  const bob = await tenant.user("bob");
  const posted = await bob("POST", `${room}/messages`, { body: { text: "too late" } });
  await tenant.server("DELETE", `${room}/members/bob`);
  expect((await bob("GET", `${room}/messages`)).status).toBe(404);
  const { id } = posted.body as { id: string };
  const seen = await (await tenant.user("ada"))("GET", `${room}/messages/${id}`);
  expect(seen.body).toMatchObject({ status: "dead", error: { code: "sender_removed" } });
});

test("a room receives the removed member's dead messages before the removal, and keeps them marked", async () => {
  const room = await makeRoom("failed", [{ user: "ada" }, { user: "bob" }]);
  const posted = await (await tenant.user("bob"))("POST", `${room}/messages`, { body: { text: "too late" } });
  const { id } = posted.body as { id: string };
  const { rows } = await world.db.raw<{ rows: { id: string }[] }>(
    "select id from rooms where slug = 'failed'",
  );
  const subscriber = world.redis.duplicate({ enableOfflineQueue: true });
  const received: unknown[] = [];
  subscriber.on("message", (_channel, text: string) => {
    const { number, data } = JSON.parse(text) as { number: number; data: string };
    const entry = JSON.parse(data) as { type: string };
    if (entry.type === "message.failed" || entry.type === "member.left")
      received.push({ live: number, ...entry });
  });
  await subscriber.subscribe(`omc:{${rows[0]?.id}}:live`);
  await tenant.server("DELETE", `${room}/members/bob`);
  await until(() => received.length === 2, "the room received both");
  subscriber.disconnect();
  const { offset } = (await tenant.server("GET", room)).body as { offset: number };
  const error = { code: "sender_removed" };
  expect(received).toMatchObject([
    { live: offset - 1, type: "message.failed", number: offset - 1, message: id, act: "message", error },
    { live: offset, type: "member.left", number: offset },
  ]);
  const page = await (await tenant.user("ada"))("GET", `${room}/messages`);
  expect(page).toMatchObject({ body: { items: [{ id, status: "dead", text: "too late", error }], offset } });
});

test("people receive the rooms that they are added to and removed from", async () => {
  const room = await makeRoom("added-and-removed");
  await tenant.server("PUT", `${room}/members/ada`);
  await tenant.server("DELETE", `${room}/members/ada`);
  await until(async () => {
    const { rows } = await world.db.raw<{ rows: { count: number }[] }>(
      "select count(*) as count from notices",
    );
    return rows[0]?.count === 0;
  }, "every user event of the outbox is published");
  const { rows } = await world.db.raw<{ rows: { id: string }[] }>(
    "select id from users where external_id = 'ada'",
  );
  const userEvents = await world.redis.xrange(`omc:{${rows[0]?.id ?? ""}}:stream`, "-", "+");
  expect(
    userEvents.map(([, fields]) => (JSON.parse(fields[1] ?? "") as { type: string; room: unknown }).type),
  ).toContain("room.removed");
});
