import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { markProfileApplied } from "../../shared/db/users/user-provisioning.ts";
import { User } from "../../shared/db/users/users.ts";
import { announceProfiles } from "../../shared/timeline/announce-profiles.ts";
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

/** Announces what has changed, as after the wait of some seconds. */
async function announce(): Promise<string[]> {
  await world.db.raw("update users set profile_changed_at = profile_changed_at - interval '1 minute'");
  return announceProfiles(world.db, 500);
}

async function entriesOf(
  slug: string,
): Promise<{ type: string; user: string | null; name: string | null }[]> {
  const { rows } = await world.db.raw<{ rows: { type: string; user: string | null; name: string | null }[] }>(
    `select e.type, u.external_id as user, u.display_name as name from timeline e join rooms r on r.id = e.room_id
       left join users u on u.id = e.sender_id where r.slug = ? order by e.number`,
    [slug],
  );
  return rows;
}

test("a changed person is announced once to each shared room, however often an import changes the person", async () => {
  const users = Array.from({ length: 20 }, (_, index) => `import-${String(index)}`);
  const members = users.map((user) => ({ user }));
  for (const slug of ["import-a", "import-b"])
    await tenant.server("PUT", `/v1/rooms/group/${slug}`, { body: { name: slug, members } });
  await announce();
  for (const name of ["First", "Second"])
    await tenant.server("POST", "/v1/users", {
      body: { users: users.map((user) => ({ user, displayName: `${name} ${user}` })) },
    });
  await tenant.server("PATCH", "/v1/users/import-0", {
    body: { avatar: "https://example.org/a.png" },
    headers: { "content-type": "application/merge-patch+json" },
  });
  expect((await announce()).length).toBe(2);
  expect(await announce()).toEqual([]);
  for (const slug of ["import-a", "import-b"]) {
    const changed = (await entriesOf(slug)).filter(({ type }) => type === "member.changed");
    expect(changed.map(({ user }) => user).sort()).toEqual([...users].sort());
    expect(changed.every(({ user, name }) => name === `Second ${String(user)}`)).toBe(true);
  }
});

test("a change is announced a few seconds later, and one that changes nothing is not", async () => {
  await tenant.server("PUT", "/v1/users/ada", { body: { displayName: "Ada" } });
  await announce();
  await tenant.server("PUT", "/v1/users/ada", { body: { displayName: "Ada" } });
  expect(await announce()).toEqual([]);
  await tenant.server("PUT", "/v1/users/ada", { body: { displayName: "Ada King" } });
  expect(await announceProfiles(world.db, 500)).toEqual([]);
  expect(await announce()).not.toEqual([]);
});

test("pages, replies and reactions show the name of now", async () => {
  const [ada, bob] = [await tenant.user("ada"), await tenant.user("bob")];
  const first = (await ada("POST", `${room}/messages`, { body: { text: "of ada" } })).body as { id: string };
  const second = (await bob("POST", `${room}/messages`, { body: { text: "to ada" } })).body as { id: string };
  await world.db.raw("update timeline set content = content || ? where entry_id = ?", [
    JSON.stringify({ replyTo: first.id }),
    second.id,
  ]);
  await ada("PUT", `${room}/messages/${first.id}/reactions/${encodeURIComponent("👍")}`);
  await tenant.server("PUT", "/v1/users/ada", { body: { displayName: "Countess" } });
  const { items } = (await bob("GET", `${room}/messages`)).body as {
    items: {
      id: string;
      sender: { displayName: string };
      replyTo: null | { sender: { displayName: string } };
    }[];
  };
  expect(items.find(({ id }) => id === first.id)?.sender.displayName).toBe("Countess");
  expect(items.find(({ id }) => id === second.id)?.replyTo?.sender.displayName).toBe("Countess");
  const reactions = (await bob("GET", `${room}/messages/${first.id}/reactions`)).body;
  expect(reactions).toMatchObject({ items: [{ user: { user: "ada", displayName: "Countess" } }] });
});

type Shown = {
  text: string;
  deletedAt: string | null;
  sender: { ref: string; user: string | null; displayName: string | null };
};

test("a deleted person has no user any more, and the ref stays; the next one of the name is another person", async () => {
  const slug = "former";
  const path = `/v1/rooms/group/${slug}`;
  await tenant.server("PUT", "/v1/users/fay", { body: { displayName: "Fay" } });
  await tenant.server("PUT", path, { body: { name: "F", members: [{ user: "fay" }, { user: "bob" }] } });
  await (
    await tenant.user("fay")
  )("POST", `${path}/messages`, { body: { text: "I was here" } });
  const bob = await tenant.user("bob");
  const read = async () => ((await bob("GET", `${path}/messages`)).body as { items: Shown[] }).items;
  const [before] = await read();
  expect((await tenant.server("DELETE", "/v1/users/fay")).status).toBe(200);
  const [after] = await read();
  expect(after).toMatchObject({ text: "I was here", sender: { user: null } });
  expect(after?.sender.ref).toBe(before?.sender.ref);
  await tenant.server("PUT", path, { body: { name: "F", members: [{ user: "fay" }] } });
  await tenant.server("POST", "/v1/users/fay/tokens");
  expect((await read())[0]?.sender.user).toBeNull();
});

test("an erasure is accepted with a place to look at, also for a person who was deleted before", async () => {
  await tenant.server("PUT", "/v1/users/gus", { body: { displayName: "Gus" } });
  await tenant.server("PUT", "/v1/rooms/group/gone", { body: { name: "G", members: [{ user: "gus" }] } });
  expect((await tenant.server("GET", "/v1/users/gus/erasure")).status).toBe(404);
  expect((await tenant.server("DELETE", "/v1/users/gus")).status).toBe(200);
  const erased = await tenant.server("DELETE", "/v1/users/gus?erase=true");
  expect([erased.status, erased.body]).toEqual([202, null]);
  const location = erased.headers.get("location") ?? "";
  expect(location).toBe("/v1/users/gus/erasure");
  expect(await tenant.server("GET", location)).toMatchObject({
    status: 200,
    body: { user: "gus", state: "running", entries: { done: 0 }, messages: 0, finishedAt: null },
  });
  expect((await tenant.server("DELETE", "/v1/users/nobody?erase=true")).status).toBe(200);
  expect((await tenant.server("DELETE", "/v1/users/gus?erase=perhaps")).status).toBe(422);
  expect((await (await world.tenant("people-2")).server("GET", location)).status).toBe(404);
});
