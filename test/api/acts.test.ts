import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { z } from "zod";
import { actResource, readMessage } from "../../shared/contract/resources.ts";
import { parsePublication } from "../../shared/contract/frames.ts";
import { roomStreamKey } from "../../shared/platform/redis-keys.ts";
import { openApiWorld, type ApiWorld, type Ask, type Reply, type TestTenant } from "../support/api.ts";
import { until } from "../support/wait.ts";

let world: ApiWorld;
let tenant: TestTenant;
let ada: Ask;
let bob: Ask;
let mia: Ask;

beforeAll(async () => {
  world = await openApiWorld();
  tenant = await world.tenant("acts");
  [ada, bob, mia] = await Promise.all([tenant.user("ada"), tenant.user("bob"), tenant.user("mia")]);
});
afterAll(() => world.close());

const acted = readMessage.extend({ act: actResource.nullable() });
type Place = { path: string; id: string; one: string };

let rooms = 0;
/** A room with a message of ada. Acts of one room are counted together: each test has its own. */
async function begin(text = "hello"): Promise<Place> {
  const slug = `acts-${String(++rooms)}`;
  const members = [
    { user: "ada" },
    { user: "bob" },
    { user: "mia", role: "moderator" },
    { user: "gil", role: "guest" },
  ];
  expect(
    (await tenant.server("PUT", `/v1/rooms/group/${slug}`, { body: { name: slug, members } })).status,
  ).toBe(202);
  const path = `/v1/rooms/group/${slug}/messages`;
  const id = z.object({ id: z.uuid() }).parse((await ada("POST", path, { body: { text } })).body).id;
  return { path, id, one: `${path}/${id}` };
}

/** Says that Matrix has the message. */
async function markSent(id: string): Promise<void> {
  await world.db.raw("update messages set status = 'sent', open = false, event_id = id::text where id = ?", [
    id,
  ]);
}

const read = async (ask: Ask, one: string) => readMessage.parse((await ask("GET", one)).body);
const codeOf = ({ status, body }: Reply) => [status, (body as { code?: string }).code];

test("a message that was never tried on Matrix is deleted at once, and stays as an empty place with who and why", async () => {
  const { one, path } = await begin("a secret");
  const answer = await ada("DELETE", `${one}?reason=by%20mistake`);
  expect(answer.status).toBe(200);
  expect(acted.parse(answer.body)).toMatchObject({
    ...{ text: "", status: "dead", error: { code: "deleted" }, reason: "by mistake" },
    ...{ deletedBy: { user: "ada" }, act: { status: "sent", error: null }, revision: 6 },
  });
  const again = await ada("DELETE", one);
  expect([again.status, again.body]).toEqual([200, answer.body]);
  expect(await read(bob, one)).toMatchObject({ text: "", reason: "by mistake" });
  expect(JSON.stringify((await bob("GET", path)).body)).not.toContain("secret");
});

test("a message that Matrix has is deleted here first, and the answer says where to look", async () => {
  const { one, id } = await begin();
  await markSent(id);
  const answer = await mia("DELETE", one);
  expect(answer.status).toBe(202);
  expect(answer.headers.get("location")).toBe(one);
  expect(acted.parse(answer.body)).toMatchObject({
    ...{ text: "", status: "sent", error: null, deletedBy: { user: "mia" }, reason: null },
    act: { status: "queued", error: null },
  });
  const waiting = mia("DELETE", one, { headers: { prefer: "wait=20" } });
  await world.db.raw("update messages set status = 'sent', open = false where target_id = ?", [id]);
  const settled = await waiting;
  expect([settled.status, acted.parse(settled.body).act?.status]).toEqual([200, "sent"]);
});

test("only the author and moderators delete, and only the author edits", async () => {
  const { one, path } = await begin();
  const gil = await tenant.user("gil");
  const eve = await tenant.user("eve");
  expect(codeOf(await bob("DELETE", one))).toEqual([403, "forbidden"]);
  expect(codeOf(await gil("DELETE", one))).toEqual([403, "forbidden"]);
  expect(codeOf(await eve("DELETE", one))[0]).toBe(404);
  expect(codeOf(await mia("PATCH", one, { body: { text: "mine" } }))).toEqual([403, "forbidden"]);
  expect(codeOf(await gil("PUT", `${one}/reactions/x`))).toEqual([403, "forbidden"]);
  expect(codeOf(await ada("DELETE", `${path}/no-id`))).toEqual([404, "not_found"]);
  expect(codeOf(await ada("DELETE", `${path}/${crypto.randomUUID()}`))).toEqual([404, "not_found"]);
  expect(codeOf(await ada("DELETE", `${one}?reason=${"x".repeat(501)}`))).toEqual([422, "invalid"]);
});

test("another tenant finds neither the room nor the message", async () => {
  const { one } = await begin();
  const other = await (await world.tenant("acts-2")).user("ada");
  for (const [method, path] of [
    ["DELETE", one],
    ["PUT", `${one}/reactions/x`],
    ["GET", `${one}/reactions`],
    ["GET", `${one}/edits`],
  ] as const)
    expect((await other(method, path)).status).toBe(404);
});

test("a deleted message takes no edits and reactions, and a repeat of its request answers it", async () => {
  const { path } = await begin();
  const body = { text: "once", clientId: "once" };
  const { id } = z.object({ id: z.uuid() }).parse((await ada("POST", path, { body })).body);
  await ada("DELETE", `${path}/${id}`);
  expect(codeOf(await ada("PATCH", `${path}/${id}`, { body: { text: "again" } }))).toEqual([409, "conflict"]);
  expect(codeOf(await bob("PUT", `${path}/${id}/reactions/x`))).toEqual([409, "conflict"]);
  expect(await ada("POST", path, { body })).toMatchObject({ status: 200, body: { id, text: "" } });
});

test("an edit shows its text at once, and the earlier texts to whoever may delete the message", async () => {
  const { one, path } = await begin("first");
  const edited = await ada("PATCH", one, { body: { text: "second", clientId: "e-1" } });
  expect([edited.status, edited.headers.get("location")]).toEqual([202, one]);
  expect(acted.parse(edited.body)).toMatchObject({
    ...{ text: "second", kind: "text", revision: 6, act: { status: "queued" } },
    editedAt: expect.any(String) as unknown,
  });
  await ada("PATCH", one, { body: { text: "third" } });
  const replay = await ada("PATCH", one, { body: { text: "second", clientId: "e-1" } });
  expect(replay.headers.get("idempotency-replayed")).toBe("true");
  expect(acted.parse(replay.body)).toMatchObject({ text: "third", act: acted.parse(edited.body).act });
  expect(codeOf(await ada("PATCH", one, { body: { text: "other", clientId: "e-1" } }))).toEqual([
    ...[422, "idempotency_key_reused"],
  ]);
  expect(codeOf(await ada("POST", path, { body: { text: "second", clientId: "e-1" } }))).toEqual([
    ...[422, "idempotency_key_reused"],
  ]);
  const versions = { items: [{ text: "first" }, { text: "second", format: "plain", html: null }] };
  expect((await ada("GET", `${one}/edits`)).body).toMatchObject(versions);
  expect((await mia("GET", `${one}/edits`)).body).toMatchObject(versions);
  expect(codeOf(await bob("GET", `${one}/edits`))).toEqual([403, "forbidden"]);
  await ada("DELETE", one);
  expect((await ada("GET", `${one}/edits`)).body).toEqual({ items: [] });
});

test("reactions are what each person wants last, with how many and who", async () => {
  const { one, path } = await begin();
  const thumb = `${one}/reactions/${encodeURIComponent("👍")}`;
  const heart = `${one}/reactions/${encodeURIComponent("❤\uFE0F")}`;
  const first = await bob("PUT", thumb);
  expect([first.status, first.body]).toMatchObject([202, { key: "👍", count: 1, act: { status: "queued" } }]);
  expect((await ada("PUT", thumb)).body).toMatchObject({ count: 2 });
  const repeated = await bob("PUT", thumb);
  expect(repeated.body).toMatchObject({ count: 2, act: (first.body as { act: unknown }).act });
  expect((await bob("PUT", heart)).body).toMatchObject({ key: "❤", count: 1 });
  expect(await read(bob, one)).toMatchObject({
    reactions: [
      { key: "👍", count: 2, users: ["bob", "ada"] },
      { key: "❤", count: 1, users: ["bob"] },
    ],
    myReactions: ["👍", "❤"],
  });
  expect((await ada("GET", path)).body).toMatchObject({ items: [{ myReactions: ["👍"] }] });
  const page = await ada("GET", `${one}/reactions?limit=2`);
  expect(page.body).toMatchObject({
    items: [
      { key: "👍", user: { user: "bob" } },
      { key: "👍", user: { user: "ada" } },
    ],
  });
  const { next } = page.body as { next: string };
  expect((await ada("GET", `${one}/reactions?limit=2&cursor=${next}`)).body).toMatchObject({
    items: [{ key: "❤" }],
    next: null,
  });
  expect((await bob("DELETE", thumb)).body).toMatchObject({ count: 1 });
  expect(await bob("DELETE", `${one}/reactions/never`)).toMatchObject({
    status: 200,
    body: { count: 0, act: null },
  });
  expect(codeOf(await bob("PUT", `${one}/reactions/${"x".repeat(65)}`))).toEqual([422, "invalid"]);
});

test("acts have a limit of their own per person and room, which spends nothing of the person's requests", async () => {
  const [first, second] = [await begin(), await begin()];
  const replies: Reply[] = [];
  for (let n = 0; n < 31; n++) replies.push(await bob("PUT", `${first.one}/reactions/same`));
  expect(replies.map(({ status }) => status)).toEqual([
    ...Array.from({ length: 30 }, () => expect.any(Number) as unknown),
    429,
  ]);
  expect(codeOf(replies[30] ?? { status: 0, headers: new Headers(), body: {} })).toEqual([
    429,
    "rate_limited",
  ]);
  expect((await bob("PUT", `${second.one}/reactions/same`)).status).toBe(202);
  expect((await bob("GET", first.one)).status).toBe(200);
});

test("a deletion begins a new stream, which has no text of what was deleted, and removes the former one", async () => {
  const { one, path, id } = await begin("to be forgotten");
  await ada("PATCH", one, { body: { text: "never to be forgotten" } });
  const [place] = await world
    .db("room_timeline as t")
    .join("messages as m", "m.room_id", "t.room_id")
    .where("m.id", id)
    .select<{ room_id: string; epoch: string }[]>("t.room_id", "t.epoch");
  if (!place) throw new Error("no room");
  const key = (scrubs: number) => roomStreamKey(place.room_id, place.epoch, scrubs);
  await until(async () => (await world.redis.xlen(key(0))) > 0, "the text is in the stream");
  await ada("DELETE", one);
  await until(async () => (await world.redis.xlen(key(1))) > 0, "the deletion is published");
  expect(await world.redis.exists(key(0))).toBe(0);
  const entries = await world.redis.xrange(key(1), "-", "+");
  expect(JSON.stringify(entries)).not.toContain("forgotten");
  await ada("POST", path, { body: { text: "after it" } });
  await until(async () => (await world.redis.xlen(key(1))) > 1, "the stream goes on");
  const [, fields] = (await world.redis.xrevrange(key(1), "+", "-", "COUNT", 1))[0] ?? ["", []];
  const live = z.object({ scrubs: z.int(), data: z.string() }).parse(JSON.parse(fields[1] ?? "{}"));
  expect(live.scrubs).toBe(1);
  expect(parsePublication(JSON.parse(live.data))).toMatchObject({
    type: "message.created",
    text: "after it",
  });
});

test("a page around a number has as many messages on each side, or more of one where the other has less", async () => {
  const { path } = await begin("0");
  for (const text of ["1", "2", "3", "4", "5"]) await ada("POST", path, { body: { text } });
  const page = async (query: string) => {
    const { items, ...more } = z
      .object({ items: z.array(readMessage), hasBefore: z.boolean(), hasAfter: z.boolean() })
      .parse((await bob("GET", `${path}?${query}`)).body);
    return [items.map(({ text }) => text).join(""), more.hasBefore, more.hasAfter];
  };
  const first =
    readMessage.parse(((await bob("GET", path)).body as { items: unknown[] }).items[0]).number ?? 0;
  expect(await page(`limit=4&around=${first + 3}`)).toEqual(["1234", true, true]);
  expect(await page(`limit=4&around=${first}`)).toEqual(["0123", false, true]);
  expect(await page(`limit=4&around=${first + 9}`)).toEqual(["2345", true, false]);
  expect(await page("limit=10&around=0")).toEqual(["012345", false, false]);
  expect(codeOf(await bob("GET", `${path}?around=3&before=4`))).toEqual([422, "invalid"]);
});
