import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { z } from "zod";
import { isAllowed, isAllowedOver, type Permission } from "../../shared/contract/permissions.ts";
import { role, type Role } from "../../shared/contract/roles.ts";
import { openApiWorld, type ApiWorld, type Ask, type Reply, type TestTenant } from "../support/api.ts";

let world: ApiWorld;
let tenant: TestTenant;
const people = {} as Record<Role | "author", Ask>;

beforeAll(async () => {
  world = await openApiWorld();
  tenant = await world.tenant("permissions");
  for (const name of [...role.options, "author"] as const) people[name] = await tenant.user(name);
});
afterAll(() => world.close());

/** A room with a person of each role, each named after it, and a message of the one who calls and of the author. */
type Place = { room: string; own: string; others: string };

let rooms = 0;
async function begin(caller: Role, fields: { posting?: "speakers" } = {}): Promise<Place> {
  const room = `/v1/rooms/group/permissions-${String(++rooms)}`;
  const put = (members: { user: string; role: Role }[]) =>
    tenant.server("PUT", room, { body: { name: "Permissions", ...fields, members } });
  const usual = role.options.map((name) => ({ user: name, role: name }));
  // A guest writes before it is one.
  await put(
    [...usual, { user: "author", role: "speaker" }, { user: caller, role: "speaker" }].slice(-2) as never,
  );
  const own = await post(room, caller);
  const others = await post(room, "author");
  expect((await put(usual)).status).toBeLessThan(300);
  await tenant.server("PUT", `${room}/members/author`, { body: { role: "member" } });
  return { room, own: `${room}/messages/${own}`, others: `${room}/messages/${others}` };
}

async function post(room: string, by: Role | "author"): Promise<string> {
  const posted = await people[by]("POST", `${room}/messages`, { body: { text: "Hello" } });
  return z.object({ id: z.uuid() }).parse(posted.body).id;
}

/** The calls that need each permission. */
const CALLS: Partial<Record<Permission, ((place: Place, ask: Ask) => Promise<Reply>)[]>> = {
  read: [
    ({ room }, ask) => ask("GET", `${room}/messages`),
    ({ others }, ask) => ask("GET", others),
    ({ room }, ask) => ask("GET", `${room}/pins`),
    ({ room }, ask) => ask("PUT", `${room}/read`, { body: { number: 1 } }),
  ],
  post: [({ room }, ask) => ask("POST", `${room}/messages`, { body: { text: "Hello" } })],
  "edit own": [({ own }, ask) => ask("PATCH", own, { body: { text: "Hello again" } })],
  react: [
    ({ others }, ask) => ask("PUT", `${others}/reactions/%2B1`),
    ({ others }, ask) => ask("DELETE", `${others}/reactions/%2B1`),
  ],
  type: [({ room }, ask) => ask("PUT", `${room}/typing`, { body: { typing: true } })],
  pin: [
    ({ others }, ask) => ask("PUT", `${others}/pin`),
    ({ others }, ask) => ask("DELETE", `${others}/pin`),
  ],
  "add people": [({ room }, ask) => ask("PUT", `${room}/members/newcomer`)],
  ban: [
    ({ room }, ask) => ask("GET", `${room}/bans`),
    ({ room }, ask) => ask("PUT", `${room}/bans/newcomer`),
    ({ room }, ask) => ask("DELETE", `${room}/bans/newcomer`),
  ],
  describe: [
    ({ room }, ask) => ask("PATCH", room, { body: { name: "Another name" } }),
    ({ room }, ask) => ask("PATCH", room, { body: { topic: "Another topic" } }),
    ({ room }, ask) => ask("PATCH", room, { body: { avatar: "https://example.org/a.png" } }),
    ({ room }, ask) => ask("PATCH", room, { body: { posting: "speakers" } }),
    ({ room }, ask) => ask("PATCH", room, { body: { slowModeS: 5 } }),
  ],
  "delete own": [({ own }, ask) => ask("DELETE", own)],
  "delete any": [
    ({ others }, ask) => ask("GET", `${others}/edits`),
    ({ others }, ask) => ask("DELETE", others),
  ],
};

/** The calls over a member of another role. */
const CALLS_OVER: Partial<Record<Permission, (place: Place, ask: Ask, over: Role) => Promise<Reply>>> = {
  mute: ({ room }, ask, over) =>
    ask("PUT", `${room}/members/${over}`, { body: { mutedUntil: "2099-01-01T00:00:00Z" } }),
  "give roles": ({ room }, ask, over) =>
    ask("PUT", `${room}/members/${over}`, { body: { role: otherThan(over) } }),
  remove: ({ room }, ask, over) => ask("DELETE", `${room}/members/${over}`),
  ban: ({ room }, ask, over) => ask("PUT", `${room}/bans/${over}`),
};

/** The lowest role but the own one: a member who may give it to somebody of the role may give all below. */
function otherThan(over: Role): Role {
  return over === "guest" ? "member" : "guest";
}

beforeAll(async () => {
  await tenant.server("PUT", "/v1/users/newcomer");
});

describe.each([undefined, "speakers"] as const)("where posting=%s", (posting) => {
  const cells = Object.keys(CALLS).flatMap((permission) =>
    role.options.map((name) => [permission as Permission, name] as const),
  );
  const places = new Map<Role, Promise<Place>>();
  /** One room for all calls of a role, in the order of the table: what changes the most comes last. */
  const placeOf = (name: Role) => {
    const place = places.get(name) ?? begin(name, posting === undefined ? {} : { posting });
    places.set(name, place);
    return place;
  };
  test.each(cells)("the calls to %s by a %s are answered as the table says", async (permission, name) => {
    const place = await placeOf(name);
    const isExpected = isAllowed(`${posting ?? "everyone"} ${name}`, permission);
    for (const call of CALLS[permission] ?? []) {
      const { status, body } = await call(place, people[name]);
      if (isExpected) expect([status, body]).toEqual([expect.any(Number), expect.anything()]);
      if (isExpected) expect(status).toBeLessThan(300);
      else expect([status, body]).toMatchObject([403, { code: "forbidden" }]);
    }
  });
});

const cellsOver = Object.keys(CALLS_OVER).flatMap((permission) =>
  role.options.map((name) => [permission as Permission, name] as const),
);
test.each(cellsOver)("the call to %s by a %s reaches only lower roles", async (permission, name) => {
  const place = await begin(name);
  for (const over of role.options.filter((other) => other !== name)) {
    const reply = await CALLS_OVER[permission]?.(place, people[name], over);
    const isExpected =
      isAllowedOver(`everyone ${name}`, permission, over) &&
      (permission !== "give roles" || isAllowedOver(`everyone ${name}`, permission, otherThan(over)));
    const { status, body } = reply ?? {};
    if (isExpected) expect(status).toBeLessThan(300);
    else expect([over, status, body]).toMatchObject([over, 403, { code: "forbidden" }]);
  }
});

test.each(role.options)("a muted %s reads and does nothing else, until the mute ends", async (name) => {
  const place = await begin(name);
  const mute = (mutedUntil: string | null) =>
    tenant.server("PUT", `${place.room}/members/${name}`, { body: { mutedUntil } });
  const until = "2099-01-01T00:00:00.000Z";
  expect(await mute(until)).toMatchObject({ body: { role: name, mutedUntil: until } });
  for (const [permission, calls] of Object.entries(CALLS))
    for (const call of calls) {
      const { status } = await call(place, people[name]);
      expect([permission, status]).toEqual([permission, permission === "read" ? expect.any(Number) : 403]);
      if (permission === "read") expect(status).toBeLessThan(300);
    }
  expect(await mute(null)).toMatchObject({ body: { role: name, mutedUntil: null } });
  const { status } = await people[name]("POST", `${place.room}/messages`, { body: { text: "Hello" } });
  expect(status < 300).toBe(isAllowed(`everyone ${name}`, "post"));
});

test("both people of a direct room have a member's rights, whatever their roles", async () => {
  const room = "/v1/rooms/direct/admin~owner";
  const members = [
    { user: "owner", role: "owner" },
    { user: "admin", role: "guest" },
  ];
  await tenant.server("PUT", room, { body: { members } });
  const message = await post(room, "owner");
  for (const [name, other] of [
    ["owner", "admin"],
    ["admin", "owner"],
  ] as const) {
    const ask = people[name];
    expect((await ask("POST", `${room}/messages`, { body: { text: "Hello" } })).status).toBe(202);
    const refused = [
      await ask("PATCH", room, { body: { name: "Ours" } }),
      await ask("PUT", `${room}/messages/${message}/pin`),
      await ask("DELETE", `${room}/members/${other}`),
      await ask("PUT", `${room}/bans/${other}`),
      await ask("PUT", `${room}/members/${other}`, { body: { mutedUntil: "2099-01-01T00:00:00Z" } }),
    ];
    expect(refused.map(({ status }) => status)).toEqual([403, 403, 403, 403, 403]);
  }
  expect((await people.admin("DELETE", `${room}/messages/${message}`)).status).toBe(403);
});

test("slow mode makes a member wait, and neither a repetition of the last message nor a moderator", async () => {
  const { room } = await begin("member");
  expect(await tenant.server("PATCH", room, { body: { slowModeS: 3_600 } })).toMatchObject({
    body: { slowModeS: 3_600 },
  });
  const body = { text: "Once", clientId: "once" };
  // The first one is another than the one before slow mode, which counts too.
  const slowed = await people.member("POST", `${room}/messages`, { body });
  expect(slowed).toMatchObject({ status: 429, body: { code: "rate_limited" } });
  expect(Number(slowed.headers.get("retry-after"))).toBeGreaterThan(3_500);
  await world.db.raw("update memberships set last_post_at = now() - interval '2 hours'");
  expect((await people.member("POST", `${room}/messages`, { body })).status).toBe(202);
  const again = await people.member("POST", `${room}/messages`, { body });
  expect([again.status, again.headers.get("idempotency-replayed")]).toEqual([202, "true"]);
  expect((await people.member("POST", `${room}/messages`, { body: { text: "Twice" } })).status).toBe(429);
  const { others } = await begin("member");
  expect((await people.member("PUT", `${others}/reactions/x`)).status).toBe(202);
  for (const text of ["one", "two"])
    expect((await people.moderator("POST", `${room}/messages`, { body: { text } })).status).toBe(202);
});

test("of two messages at once in slow mode one is accepted", async () => {
  const { room } = await begin("owner");
  await tenant.server("PATCH", room, { body: { slowModeS: 60 } });
  const replies = await Promise.all(
    ["one", "two", "three"].map((text) => people.member("POST", `${room}/messages`, { body: { text } })),
  );
  expect(replies.map(({ status }) => status).sort()).toEqual([202, 429, 429]);
});

test("a banned person neither joins nor is added by a person; the backend ends the ban by adding the person", async () => {
  const { room } = await begin("owner");
  await tenant.server("PATCH", room, { body: { visibility: "public", join: "open" } });
  const banned = await people.moderator("PUT", `${room}/bans/member`, { body: { reason: "Spam" } });
  expect(banned).toMatchObject({
    status: 202,
    body: { user: "member", by: "moderator", reason: "Spam", status: "pending" },
  });
  expect((await people.moderator("GET", `${room}/bans`)).body).toMatchObject({
    items: [{ user: "member" }],
    next: null,
  });
  expect((await people.member("GET", `${room}/messages`)).status).toBe(404);
  expect((await people.member("POST", `${room}/join`)).status).toBe(403);
  expect(await people.owner("PUT", `${room}/members/member`)).toMatchObject({
    status: 409,
    body: { code: "conflict" },
  });
  expect((await tenant.server("PUT", `${room}/members/member`)).status).toBe(202);
  expect((await people.member("GET", `${room}/messages`)).status).toBe(200);
  expect((await tenant.server("GET", `${room}/bans/member`)).status).toBe(404);
  expect((await tenant.server("PUT", `${room}/bans/member`)).status).toBe(202);
  expect((await people.moderator("DELETE", `${room}/bans/member`)).status).toBe(204);
  expect((await people.member("POST", `${room}/join`)).status).toBe(200);
});

test("the entries of what a person does to members and to the room name the person", async () => {
  const { room } = await begin("owner");
  await people.owner("PUT", `${room}/members/member`, { body: { role: "speaker" } });
  await people.owner("PATCH", room, { body: { topic: "New", slowModeS: 9 } });
  await people.moderator("DELETE", `${room}/members/guest`);
  const { rows } = await world.db.raw<{ rows: { type: string; content: unknown }[] }>(
    "select e.type, e.content from timeline e join rooms r on r.id = e.room_id where r.slug = ? order by e.number desc limit 3",
    [room.split("/").at(-1) ?? ""],
  );
  expect(rows).toEqual([
    { type: "member.left", content: { role: "guest", by: "moderator" } },
    { type: "room.changed", content: { changed: { topic: "New", slowModeS: "9" }, by: "owner" } },
    { type: "member.changed", content: { role: "speaker", by: "owner" } },
  ]);
});

test("a message that is pinned is so for all readers, once, and until it is deleted; a room has 50", async () => {
  const { room, others } = await begin("owner");
  const pin = (path: string) => people.moderator("PUT", `${path}/pin`);
  expect(await pin(others)).toMatchObject({
    status: 202,
    body: { pinned: true, act: { status: "queued" } },
  });
  const again = await pin(others);
  expect(again).toMatchObject({ status: 202, body: { pinned: true } });
  expect((await people.guest("GET", `${room}/pins`)).body).toMatchObject({ items: [{ pinned: true }] });
  expect((await people.moderator("DELETE", others)).status).toBe(200);
  expect((await people.guest("GET", `${room}/pins`)).body).toEqual({ items: [] });
  expect((await pin(others)).status).toBe(409);
  const { rows } = await world.db.raw<{ rows: { type: string }[] }>(
    "select e.type from timeline e join rooms r on r.id = e.room_id where r.slug = ? and e.relates_to is not null order by e.number",
    [room.split("/").at(-1) ?? ""],
  );
  expect(rows.map(({ type }) => type)).toEqual(["message.pinned", "message.deleted"]);
});
