import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { rowsOf } from "../../shared/db/connection/open.ts";
import { findRoomSnapshot } from "../../shared/db/rooms/room-snapshot.ts";
import { aliasLocalpart } from "../support/alias.ts";
import { openApiWorld, type ApiWorld, type Ask, type Reply, type TestTenant } from "../support/api.ts";

let world: ApiWorld;
let tenant: TestTenant;
let ada: Ask;
let outsider: Ask;

beforeAll(async () => {
  world = await openApiWorld();
  tenant = await world.tenant("rename");
  for (const user of ["ada", "bea", "outsider"]) await tenant.server("PUT", `/v1/users/${user}`);
  [ada, outsider] = [await tenant.user("ada"), await tenant.user("outsider")];
});
afterAll(() => world.close());

const make = (key: string, body: object = {}) =>
  tenant.server("PUT", `/v1/rooms/${key}`, {
    body: { name: key, members: [{ user: "ada", role: "owner" }, { user: "bea" }], ...body },
  });
const rename = (key: string, slug: string) => tenant.server("PATCH", `/v1/rooms/${key}`, { body: { slug } });
const lead = ({ status, headers }: Reply) => [status, headers.get("location")];

type Row = { id: string; slug: string; generation: number; alias: string; deleted_at: Date | null };

/** The rooms of a group's slugs, with the alias as the workers read it, oldest first. */
async function rooms(...slugs: string[]): Promise<Row[]> {
  const rows = await rowsOf<Omit<Row, "alias">>(
    world.db,
    "select id, slug, generation, deleted_at from rooms where tenant_id = ? and slug = any(?) order by created_at",
    [tenant.row.id, slugs],
  );
  return Promise.all(
    rows.map(async (row) => {
      const snapshot = await findRoomSnapshot(world.db, tenant.row.id, row.id);
      return { ...row, alias: snapshot?.alias_localpart ?? "" };
    }),
  );
}

const alias = (slug: string, generation: number) =>
  aliasLocalpart({ tenantId: tenant.row.id, kind: "group", slug, generation });

test("a renamed room keeps its messages, numbers, unread counts, members and settings, in another epoch", async () => {
  await make("group/old-name");
  const bea = await tenant.user("bea");
  await ada("POST", "/v1/rooms/group/old-name/messages", { body: { text: "before" } });
  await bea("PUT", "/v1/me/rooms/group/old-name", {
    body: { notify: "mentions", mutedUntil: null, pinned: true, archived: false },
  });
  const before = await ada("GET", "/v1/rooms/group/old-name");
  const renamed = await rename("group/old-name", "new-name");
  expect(renamed).toMatchObject({
    status: 202,
    body: { room: "group:new-name", slug: "new-name", members: 2 },
  });
  await ada("POST", "/v1/rooms/group/new-name/messages", { body: { text: "after" } });
  expect(await bea("GET", "/v1/rooms/group/new-name/messages")).toMatchObject({
    body: {
      items: expect.arrayContaining([
        expect.objectContaining({ text: "before", room: "group:new-name" }),
        expect.objectContaining({ text: "after", room: "group:new-name" }),
      ]) as unknown,
    },
  });
  const { body } = await bea("GET", "/v1/me/rooms");
  const [mine] = (body as { items: { room: string }[] }).items.filter(({ room }) => room.includes("name"));
  expect(mine).toMatchObject({
    room: "group:new-name",
    unread: 2,
    settings: { notify: "mentions", pinned: true },
  });
  const [was, is] = [before.body, renamed.body] as { epoch: string; offset: number }[];
  expect(is?.epoch).not.toBe(was?.epoch);
  expect(is?.offset).toBe(was?.offset);
});

test("former slugs lead straight to the present one, whatever the call, for those who may read the room", async () => {
  await make("group/first");
  await rename("group/first", "second");
  await rename("group/second", "third");
  for (const slug of ["first", "second"]) {
    expect(lead(await ada("GET", `/v1/rooms/group/${slug}`))).toEqual([308, "/v1/rooms/group/third"]);
    expect(lead(await ada("GET", `/v1/rooms/group/${slug}/messages?limit=5&before=9`))).toEqual([
      308,
      "/v1/rooms/group/third/messages?limit=5&before=9",
    ]);
    expect(
      lead(await ada("POST", `/v1/rooms/group/${slug}/messages`, { body: { text: "to the old name" } })),
    ).toEqual([308, "/v1/rooms/group/third/messages"]);
    expect(lead(await tenant.server("GET", `/v1/rooms/group/${slug}/members/ada`))).toEqual([
      308,
      "/v1/rooms/group/third/members/ada",
    ]);
    expect(await outsider("GET", `/v1/rooms/group/${slug}`)).toMatchObject({ status: 404 });
  }
  expect(
    lead(
      await ada("PUT", "/v1/me/rooms/group/first", {
        body: { notify: "all", mutedUntil: null, pinned: false, archived: false },
      }),
    ),
  ).toEqual([308, "/v1/me/rooms/group/third"]);
  expect(lead(await rename("group/first", "third"))).toEqual([308, "/v1/rooms/group/third"]);
  const other = await world.tenant("rename-other");
  await other.server("PUT", "/v1/users/ada");
  expect((await other.server("GET", "/v1/rooms/group/first")).status).toBe(404);
  expect((await (await other.user("ada"))("GET", "/v1/rooms/group/first")).status).toBe(404);
});

test("the former slug of a public room leads anybody to it", async () => {
  await make("group/square", { visibility: "public", join: "open" });
  await rename("group/square", "plaza");
  expect(lead(await outsider("POST", "/v1/rooms/group/square/join"))).toEqual([
    308,
    "/v1/rooms/group/plaza/join",
  ]);
});

test("a slug that another room has is a conflict, and nothing is changed with it", async () => {
  await make("group/mine");
  await make("group/theirs");
  const refused = await tenant.server("PATCH", "/v1/rooms/group/mine", {
    body: { name: "Changed", slug: "theirs" },
  });
  expect(refused).toMatchObject({ status: 409, body: { code: "conflict" } });
  expect(await ada("GET", "/v1/rooms/group/mine")).toMatchObject({
    status: 200,
    body: { name: "group/mine" },
  });
  const answers = await Promise.all([rename("group/mine", "free"), rename("group/theirs", "free")]);
  expect(answers.map(({ status }) => status).sort()).toEqual([202, 409]);
});

test("a direct room is not renamed, and a person renames no room", async () => {
  await tenant.server("PUT", "/v1/rooms/direct", { body: { users: ["ada", "bea"] } });
  expect(await rename("direct/ada~bea", "ada~bob")).toMatchObject({ status: 422 });
  expect(await rename("direct/ada~bea", "pair")).toMatchObject({ status: 422 });
  await make("group/ours");
  expect((await ada("PATCH", "/v1/rooms/group/ours", { body: { slug: "my-own" } })).status).toBeGreaterThan(
    400,
  );
  expect((await ada("GET", "/v1/rooms/group/ours")).status).toBe(200);
});

test("a room keeps its first alias, and a new room at its former slug is another generation with another alias", async () => {
  await make("group/reused");
  const [first] = await rooms("reused");
  expect(first).toMatchObject({ generation: 1, alias: alias("reused", 1) });
  await rename("group/reused", "moved");
  await make("group/reused");
  const [moved, second] = await rooms("reused", "moved");
  expect(moved).toMatchObject({ id: first?.id, slug: "moved", alias: alias("reused", 1) });
  expect(second).toMatchObject({ slug: "reused", generation: 2, alias: alias("reused", 2) });
  // The slug means the new room, and leads nowhere when that is deleted.
  expect((await ada("GET", "/v1/rooms/group/reused")).status).toBe(200);
  await tenant.server("DELETE", "/v1/rooms/group/reused");
  expect((await ada("GET", "/v1/rooms/group/reused")).status).toBe(404);
  // Back again: a third generation, the first alias.
  await rename("group/moved", "reused");
  const again = (await rooms("reused")).find(({ deleted_at: deletedAt }) => deletedAt === null);
  expect(again).toMatchObject({ id: first?.id, generation: 3, alias: alias("reused", 1) });
  expect(lead(await ada("GET", "/v1/rooms/group/moved"))).toEqual([308, "/v1/rooms/group/reused"]);
});

test("a room of version 0.3, whose alias is not stored, keeps it when it is renamed", async () => {
  await make("group/older");
  await rowsOf(
    world.db,
    "update rooms set alias_localpart = null where tenant_id = ? and slug = 'older' returning id",
    [tenant.row.id],
  );
  expect((await rooms("older"))[0]?.alias).toBe(alias("older", 1));
  await rename("group/older", "newer");
  expect((await rooms("newer"))[0]?.alias).toBe(alias("older", 1));
});
