import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { openApiWorld, type ApiWorld, type Ask, type TestTenant } from "../support/api.ts";

let world: ApiWorld;
let tenant: TestTenant;
let ada: Ask;

beforeAll(async () => {
  world = await openApiWorld();
  tenant = await world.tenant("directory");
  const put = (key: string, body: object) => tenant.server("PUT", `/v1/rooms/${key}`, { body });
  await put("event/py-meetup", { name: "Python Meetup", visibility: "public", join: "open" });
  await put("event/py-private", { name: "Python behind doors" });
  await put("group/chess", {
    name: "chess",
    visibility: "public",
    members: [{ user: "ada", role: "guest" }],
  });
  await put("group/open-private", { name: "Chess, private", join: "open" });
  await put("group/100", { name: "100% fun_", visibility: "public", join: "open" });
  ada = await tenant.user("ada");
});
afterAll(() => world.close());

async function find(query: string): Promise<string[]> {
  const { status, body } = await ada("GET", `/v1/rooms${query}`);
  expect(status).toBe(200);
  return (body as { items: { room: string }[] }).items.map(({ room }) => room);
}

test("the directory has the public rooms, sorted by name, with the caller's role", async () => {
  expect(await find("")).toEqual(["group:100", "group:chess", "event:py-meetup"]);
  expect(await find("?visibility=public&kind=group")).toEqual(["group:100", "group:chess"]);
  expect(await ada("GET", "/v1/rooms")).toMatchObject({
    body: {
      items: [{ role: null, join: "open", members: 0 }, { role: "guest", join: "invite" }, { role: null }],
    },
  });
});

test("a search finds rooms by the beginning of name or slug, in any case, and takes every character as it is", async () => {
  expect(await find("?q=PY")).toEqual(["event:py-meetup"]);
  expect(await find("?q=python%20m")).toEqual(["event:py-meetup"]);
  expect(await find("?q=CHE")).toEqual(["group:chess"]);
  expect(await find("?q=100%25")).toEqual(["group:100"]);
  expect(await find("?q=%25")).toEqual([]);
  expect(await find("?q=_")).toEqual([]);
  expect(await find("?q=meetup")).toEqual([]);
  for (const query of ["?q=", `?q=${"x".repeat(65)}`, "?q=%00", "?visibility=private", "?kind=club"])
    expect((await ada("GET", `/v1/rooms${query}`)).status).toBe(422);
});

test("the directory's pages name every room once", async () => {
  const seen: string[] = [];
  let cursor = "";
  do {
    const { body } = await ada("GET", `/v1/rooms?limit=1${cursor}`);
    const page = body as { items: { room: string }[]; next: string | null };
    seen.push(...page.items.map(({ room }) => room));
    cursor = page.next === null ? "" : `&cursor=${page.next}`;
  } while (cursor !== "");
  expect(seen).toEqual(["group:100", "group:chess", "event:py-meetup"]);
});

test("somebody who is in no room reads a public one, without its members and messages", async () => {
  await tenant.server("PUT", "/v1/users/outsider");
  const outsider = await tenant.user("outsider");
  expect(await outsider("GET", "/v1/rooms/event/py-meetup")).toMatchObject({
    status: 200,
    body: { room: "event:py-meetup", join: "open" },
  });
  for (const path of [
    "event/py-meetup/members",
    "event/py-meetup/messages",
    "event/py-private",
    "event/nowhere",
  ])
    expect(await outsider("GET", `/v1/rooms/${path}`)).toMatchObject({
      status: 404,
      body: { detail: "There is no such room." },
    });
});

test("a member reads the room and its members, a guest too", async () => {
  expect(await ada("GET", "/v1/rooms/group/chess")).toMatchObject({ status: 200 });
  expect(await ada("GET", "/v1/rooms/group/chess/members")).toMatchObject({
    status: 200,
    body: { items: [{ user: "ada", role: "guest" }], next: null },
  });
});

test("a person joins an open public room, once, and leaves it again", async () => {
  const room = "/v1/rooms/event/py-meetup";
  await tenant.server("PUT", "/v1/users/joiner");
  const joiner = await tenant.user("joiner");
  expect((await joiner("GET", `${room}/messages`)).status).toBe(404);
  for (let call = 0; call < 2; call++)
    expect(await joiner("POST", `${room}/join`)).toMatchObject({
      status: 200,
      body: { room: "event:py-meetup", role: "member", unread: 0, members: 1 },
    });
  expect((await joiner("POST", `${room}/messages`, { body: { text: "hi" } })).status).toBe(202);
  for (let call = 0; call < 2; call++)
    expect(await joiner("POST", `${room}/leave`)).toMatchObject({ status: 200, body: { user: "joiner" } });
  expect((await joiner("GET", `${room}/messages`)).status).toBe(404);
  expect(await tenant.server("GET", room)).toMatchObject({ body: { members: 0 } });
  const entries = await world
    .db("timeline")
    .join("rooms", "rooms.id", "timeline.room_id")
    .where({ slug: "py-meetup" })
    .orderBy("number")
    .select("type", "content");
  expect(entries.filter(({ type }: { type: string }) => type.startsWith("member."))).toEqual([
    { type: "member.joined", content: { role: "member", by: "joiner" } },
    { type: "member.left", content: { role: "member", by: "joiner" } },
  ]);
});

test("a room that is not open, or not public, cannot be joined", async () => {
  const joiner = await tenant.user("joiner");
  await tenant.server("PUT", "/v1/users/joiner");
  const join = (key: string) => joiner("POST", `/v1/rooms/${key}/join`);
  expect(await join("group/chess")).toMatchObject({ status: 403, body: { code: "forbidden" } });
  expect(await join("group/open-private")).toMatchObject({ status: 404 });
  expect(await join("group/nowhere")).toMatchObject({ status: 404 });
  expect(await join("direct/ada~joiner")).toMatchObject({ status: 404 });
});

test("a person whom a moderator banned on Matrix cannot join again, until the backend adds the person", async () => {
  const banned = await tenant.user("banned");
  await tenant.server("PUT", "/v1/users/banned");
  const room = "/v1/rooms/event/py-meetup";
  expect((await banned("POST", `${room}/join`)).status).toBeLessThan(300);
  expect((await banned("POST", `${room}/leave`)).status).toBeLessThan(300);
  await world.db.raw(
    "update memberships set is_banned = true where user_id = (select id from users where external_id = 'banned')",
  );
  expect(await banned("POST", `${room}/join`)).toMatchObject({ status: 403, body: { code: "forbidden" } });
  const added = await tenant.server("PUT", `${room}/members/banned`, { body: { role: "member" } });
  expect(added.status).toBeLessThan(300);
});

test("whoever was never in a room cannot leave it, and nobody leaves a direct room", async () => {
  await tenant.server("PUT", "/v1/users/joiner");
  const joiner = await tenant.user("joiner");
  expect((await joiner("POST", "/v1/rooms/event/py-private/leave")).status).toBe(404);
  await tenant.server("PUT", "/v1/rooms/direct", { body: { users: ["ada", "joiner"] } });
  expect(await joiner("POST", "/v1/rooms/direct/ada~joiner/leave")).toMatchObject({
    status: 409,
    body: { code: "conflict" },
  });
});

test("a backend says who may join a room, and a direct room stays closed", async () => {
  const room = "/v1/rooms/group/settled";
  expect(await tenant.server("PUT", room, { body: { name: "S" } })).toMatchObject({
    body: { join: "invite" },
  });
  expect(await tenant.server("PATCH", room, { body: { join: "open" } })).toMatchObject({
    body: { join: "open" },
  });
  expect(await tenant.server("PATCH", room, { body: { topic: "t" } })).toMatchObject({
    body: { join: "open" },
  });
  expect(await tenant.server("PUT", room, { body: { name: "S" } })).toMatchObject({
    body: { join: "invite" },
  });
  expect(await tenant.server("PATCH", room, { body: { join: "closed" } })).toMatchObject({ status: 422 });
  await tenant.server("PUT", "/v1/rooms/direct", { body: { users: ["ada", "bob"] } });
  expect(await tenant.server("PATCH", "/v1/rooms/direct/ada~bob", { body: { join: "open" } })).toMatchObject({
    status: 422,
    body: { errors: [{ path: "join" }] },
  });
});

test("a hundred people who join at once are each a member once", async () => {
  const room = "/v1/rooms/group/rush";
  await tenant.server("PUT", room, { body: { name: "Rush", visibility: "public", join: "open" } });
  const names = Array.from({ length: 50 }, (_, index) => `rush-${index}`);
  await tenant.server("POST", "/v1/users", { body: { users: names.map((user) => ({ user })) } });
  const replies = await Promise.all(
    [...names, ...names].map(async (name) => (await tenant.user(name))("POST", `${room}/join`)),
  );
  expect(new Set(replies.map(({ status }) => status))).toEqual(new Set([200]));
  expect(await tenant.server("GET", room)).toMatchObject({ body: { members: 50 } });
});
