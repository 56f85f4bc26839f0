import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { Room } from "../../shared/db/rooms/rooms.ts";
import { openApiWorld, type ApiWorld, type TestTenant } from "../support/api.ts";

let world: ApiWorld;
let tenant: TestTenant;

beforeAll(async () => {
  world = await openApiWorld();
  tenant = await world.tenant("rooms");
});
afterAll(() => world.close());

async function readTimeline(kind: string, slug: string): Promise<{ type: string; content: unknown }[]> {
  const { rows } = await world.db.raw<{ rows: { type: string; content: unknown }[] }>(
    `select e.number, e.type, e.content from timeline e join rooms r on r.id = e.room_id
      where r.kind = ? and r.slug = ? and r.deleted_at is null order by e.number`,
    [kind, slug],
  );
  return rows;
}

test("a new room has members, a timeline and a location", async () => {
  const made = await tenant.server("PUT", "/v1/rooms/event/py-meetup", {
    body: { name: "Py meetup", topic: "Snakes", members: [{ user: "ada", role: "owner" }, { user: "bob" }] },
  });
  expect(made.status).toBe(202);
  expect(made.headers.get("location")).toBe("/v1/rooms/event/py-meetup");
  expect(made.body).toMatchObject({
    room: "event:py-meetup",
    kind: "event",
    slug: "py-meetup",
    name: "Py meetup",
    topic: "Snakes",
    avatar: null,
    visibility: "private",
    status: "pending",
    offset: 2,
    members: 2,
  });
  expect(await readTimeline("event", "py-meetup")).toEqual([
    { number: 1, type: "member.joined", content: { role: "owner", by: null } },
    { number: 2, type: "member.joined", content: { role: "member", by: null } },
  ]);
});

test("a hundred requests for one room make one room, with one entry for each member", async () => {
  const body = { name: "Load", members: [{ user: "ada" }, { user: "bob" }] };
  const replies = await Promise.all(
    Array.from({ length: 100 }, () => tenant.server("PUT", "/v1/rooms/group/many", { body })),
  );
  expect(new Set(replies.map(({ status }) => status))).toEqual(new Set([202]));
  expect(await Room.query(world.db).where({ slug: "many" }).resultSize()).toBe(1);
  expect(await tenant.server("GET", "/v1/rooms/group/many")).toMatchObject({
    body: { members: 2, offset: 2 },
  });
});

test("a hundred requests for a direct room, from both sides, make one room", async () => {
  const replies = await Promise.all(
    Array.from({ length: 100 }, (_, index) =>
      tenant.server("PUT", "/v1/rooms/direct", {
        body: { users: index % 2 ? ["eve", "Dan"] : ["Dan", "eve"] },
      }),
    ),
  );
  expect(new Set(replies.map(({ status, body }) => `${status} ${(body as { room: string }).room}`))).toEqual(
    new Set(["202 direct:Dan~eve"]),
  );
  expect(await Room.query(world.db).where({ kind: "direct", slug: "Dan~eve" }).resultSize()).toBe(1);
  const { body } = await tenant.server("GET", "/v1/rooms/direct/Dan~eve/members");
  expect(body).toMatchObject({
    items: [
      { user: "Dan", role: "member" },
      { user: "eve", role: "member" },
    ],
  });
});

test("a direct room refuses a third member", async () => {
  await tenant.server("PUT", "/v1/rooms/direct/ada~bob");
  const reply = await tenant.server("PUT", "/v1/rooms/direct/ada~bob/members/eve");
  expect(reply).toMatchObject({ status: 409, body: { code: "conflict" } });
});

test("a change makes an entry in the timeline, and a repetition changes nothing", async () => {
  const body = { name: "A", members: [{ user: "ada" }] };
  await tenant.server("PUT", "/v1/rooms/group/renamed", { body });
  await tenant.server("PUT", "/v1/rooms/group/renamed", { body });
  await tenant.server("PATCH", "/v1/rooms/group/renamed", { body: { name: "B", topic: "T" } });
  await tenant.server("PATCH", "/v1/rooms/group/renamed", { body: { topic: null } });
  const entries = await readTimeline("group", "renamed");
  expect(entries.map(({ type, content }) => [type, content])).toEqual([
    ["member.joined", { role: "member", by: null }],
    ["room.changed", { changed: { name: "B", topic: "T" } }],
    ["room.changed", { changed: { topic: null } }],
  ]);
  expect(await Room.query(world.db).findOne({ slug: "renamed" })).toMatchObject({ desired_version: 3 });
});

test("a request for a room that is as requested and applied returns 200", async () => {
  await tenant.server("PUT", "/v1/rooms/group/done", { body: { name: "Done" } });
  await world.db.raw(
    "update rooms set status = 'ready', applied_version = desired_version where slug = 'done'",
  );
  expect((await tenant.server("PUT", "/v1/rooms/group/done", { body: { name: "Done" } })).status).toBe(200);
  expect((await tenant.server("PATCH", "/v1/rooms/group/done", { body: { name: "More" } })).status).toBe(202);
});

test("a deleted room is not found by its members, and its address makes a new room", async () => {
  const body = { name: "G", members: [{ user: "ada" }, { user: "bob" }] };
  await tenant.server("PUT", "/v1/rooms/event/again", { body });
  const ada = await tenant.user("ada");
  const posted = await ada("POST", "/v1/rooms/event/again/messages", { body: { text: "queued" } });
  expect(posted.status).toBe(202);
  expect(await tenant.server("DELETE", "/v1/rooms/event/again")).toMatchObject({
    status: 200,
    body: { name: "G" },
  });
  expect(await tenant.server("DELETE", "/v1/rooms/event/again")).toMatchObject({ status: 200, body: null });
  expect((await ada("GET", "/v1/rooms/event/again/messages")).status).toBe(404);
  const { rows } = await world.db.raw<{ rows: unknown[] }>(
    "select status, error_code from messages where id = ?",
    [(posted.body as { id: string }).id],
  );
  expect(rows).toEqual([{ status: "dead", error_code: "room_deleted" }]);
  const recreated = await tenant.server("PUT", "/v1/rooms/event/again", { body: { name: "H" } });
  expect(recreated.body).toMatchObject({ members: 0, offset: 0 });
  expect(
    await Room.query(world.db).where({ slug: "again" }).orderBy("generation").select("generation"),
  ).toMatchObject([{ generation: 1 }, { generation: 2 }]);
});

test("two tenants with the same slugs share nothing", async () => {
  const other = await world.tenant("other-rooms");
  await tenant.server("PUT", "/v1/rooms/event/shared", {
    body: { name: "Ours", members: [{ user: "ada" }] },
  });
  expect((await other.server("GET", "/v1/rooms/event/shared")).status).toBe(404);
  await other.server("PUT", "/v1/rooms/event/shared", {
    body: { name: "Theirs", members: [{ user: "ada" }] },
  });
  expect(await tenant.server("GET", "/v1/rooms/event/shared")).toMatchObject({ body: { name: "Ours" } });
  await (
    await tenant.user("ada")
  )("POST", "/v1/rooms/event/shared/messages", { body: { text: "private" } });
  const theirs = await (await other.user("ada"))("GET", "/v1/rooms/event/shared/messages");
  expect(theirs.body).toMatchObject({ items: [], pending: [] });
});

test("a change of members takes one lock, so that many rooms can change at once", async () => {
  const replies = await Promise.all(
    Array.from({ length: 40 }, (_, index) =>
      tenant.server("PUT", `/v1/rooms/group/many-${index % 8}`, {
        body: { name: `Many ${index % 8}`, members: ["u1", "u2", "u3", "u4"].map((user) => ({ user })) },
      }),
    ),
  );
  expect(replies.filter(({ status }) => status !== 202)).toEqual([]);
});

test("a room keeps its messages for the days that the product sets, by PUT and by PATCH, and for ever without them", async () => {
  const path = "/v1/rooms/group/kept-days";
  const patch = (body: object) =>
    tenant.server("PATCH", path, { body, headers: { "content-type": "application/merge-patch+json" } });
  expect(await tenant.server("PUT", path, { body: { name: "K" } })).toMatchObject({
    body: { retentionDays: 0 },
  });
  expect(await patch({ retentionDays: 30 })).toMatchObject({ body: { retentionDays: 30 } });
  expect(await patch({ topic: "t" })).toMatchObject({ body: { retentionDays: 30 } });
  expect(await tenant.server("PUT", path, { body: { name: "K", retentionDays: 3_650 } })).toMatchObject({
    body: { retentionDays: 3_650 },
  });
  for (const retentionDays of [-1, 3_651, 1.5, "7", null])
    expect((await patch({ retentionDays })).status).toBe(422);
});
