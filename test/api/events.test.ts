import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { randomUUID } from "node:crypto";
import { applyEvents } from "../../api/events/apply-events.ts";
import type { ReceivedEvent } from "../../api/events/read-events.ts";
import { setTenantLimits, tenantLimits } from "../../shared/db/tenants/tenants.ts";
import { countRows, openApiWorld, type ApiWorld, type Reply, type TestTenant } from "../support/api.ts";

let world: ApiWorld;
let tenant: TestTenant;

beforeAll(async () => {
  world = await openApiWorld();
  tenant = await world.tenant("events");
});
afterAll(() => world.close());

const SOURCE = "https://product.example.org";
const STRUCTURED = { "content-type": "application/cloudevents+json" };
const BATCH = { "content-type": "application/cloudevents-batch+json" };

type Event = { specversion: string; id: string; source: string; type: string; data: unknown };

function event(type: string, data: unknown, id: string = randomUUID()): Event {
  return { specversion: "1.0", id, source: SOURCE, type: `chat.${type}`, data };
}

function send(events: readonly unknown[], to: TestTenant = tenant): Promise<Reply> {
  return to.server("POST", "/v1/events", { raw: JSON.stringify(events), headers: BATCH });
}

/** As a product does: a call that waited for others for too long is sent again. */
async function sendAgain(events: readonly Event[]): Promise<Reply> {
  for (let attempt = 1; ; attempt++) {
    const reply = await send(events);
    if (reply.status !== 503 || attempt === 10) return reply;
  }
}

async function tell(...events: Event[]): Promise<void> {
  expect(await send(events)).toMatchObject({ status: 202, body: { accepted: events.length, duplicates: 0 } });
}

async function room(kind: string, slug: string): Promise<unknown> {
  const { status, body } = await tenant.server("GET", `/v1/rooms/${kind}/${slug}`);
  return status === 200 ? body : null;
}

async function members(kind: string, slug: string): Promise<Record<string, string>> {
  const { body } = await tenant.server("GET", `/v1/rooms/${kind}/${slug}/members?limit=100`);
  const { items } = body as { items: { user: string; role: string }[] };
  return Object.fromEntries(items.map(({ user, role }) => [user, role]));
}

test("an event is taken in the binary, the structured and the batch form", async () => {
  const binary = await tenant.server("POST", "/v1/events", {
    body: { event: "binary", name: "Caf\u00e9" },
    headers: {
      "ce-specversion": "1.0",
      "ce-id": "1",
      "ce-source": "/forms",
      "ce-type": "chat.event.created",
      "ce-extension": "ignored",
    },
  });
  expect(binary).toMatchObject({ status: 202, body: { accepted: 1, duplicates: 0 } });
  const structured = await tenant.server("POST", "/v1/events", {
    raw: JSON.stringify({ ...event("group.created", { group: "structured" }), time: "2026-12-01T00:00:00Z" }),
    headers: { "content-type": "application/cloudevents+json; charset=utf-8" },
  });
  expect(structured).toMatchObject({ status: 202, body: { accepted: 1, duplicates: 0 } });
  await tell(event("event.created", { event: "batch" }));
  expect(await room("event", "binary")).toMatchObject({ name: "Caf\u00e9", visibility: "private" });
  expect(await room("group", "structured")).toMatchObject({ name: "structured" });
  expect(await room("event", "batch")).toMatchObject({ name: "batch" });
  expect(await send([])).toMatchObject({ status: 202, body: { accepted: 0, duplicates: 0 } });
});

test("an event with a source and an id of before is a duplicate without an effect, in the same call too", async () => {
  const first = event("event.created", { event: "twice", name: "First" }, "same");
  const other = { ...event("event.updated", { event: "twice", name: "Second" }, "same") };
  expect(await send([first, other])).toMatchObject({ body: { accepted: 1, duplicates: 1 } });
  expect(await send([other, event("event.updated", { event: "twice", topic: "new" })])).toMatchObject({
    body: { accepted: 1, duplicates: 1 },
  });
  expect(await room("event", "twice")).toMatchObject({ name: "First", topic: "new" });
  // Another source, and another tenant, have ids of their own.
  expect(await send([{ ...other, source: "/other" }])).toMatchObject({ body: { accepted: 1 } });
  const stranger = await world.tenant("events-other");
  expect(await send([first], stranger)).toMatchObject({ body: { accepted: 1, duplicates: 0 } });
});

test("an event is remembered for seven days", async () => {
  const created = event("event.created", { event: "remembered" });
  await tell(created);
  const age = (days: string) =>
    world.db.raw("update received_events set received_at = now() - cast(? as interval) where event_id = ?", [
      days,
      created.id,
    ]);
  await age("6 days 23 hours");
  expect(await send([created])).toMatchObject({ body: { accepted: 0, duplicates: 1 } });
  await age("7 days 1 minute");
  expect(await send([created])).toMatchObject({ body: { accepted: 1, duplicates: 0 } });
});

test("a call with one fault changes nothing, and names the place of every fault", async () => {
  const before = await countRows(world.db);
  const reply = await send([
    event("event.created", { event: "faulty" }),
    event("event.member.add", { event: "faulty", user: "no spaces" }),
    { ...event("user.updated", { user: "ada" }), specversion: "0.3" },
    event("event.created", { event: "faulty", nmae: "x", visibility: "secret" }),
    event("event.exploded", {}),
    "text",
  ]);
  expect(reply.status).toBe(422);
  const { errors } = reply.body as { errors: { path: string; message: string }[] };
  expect(errors.map(({ path }) => path)).toEqual([
    "[1].data.user",
    "[2].specversion",
    "[3].data.visibility",
    "[3].data.nmae",
    "[4].type",
    "[5]",
  ]);
  expect(errors[4]?.message).toContain("chat.event.attendee.updated");
  expect(await countRows(world.db)).toEqual(before);
});

test("faults of a single event are named by its fields, and in the binary form by its headers", async () => {
  const paths = (reply: Reply) => [
    reply.status,
    (reply.body as { errors: { path: string }[] }).errors.map(({ path }) => path),
  ];
  const structured = await tenant.server("POST", "/v1/events", {
    raw: JSON.stringify(event("group.member.role", { group: "chess", user: "ada" })),
    headers: STRUCTURED,
  });
  expect(paths(structured)).toEqual([422, ["data.role"]]);
  const binary = await tenant.server("POST", "/v1/events", {
    body: { event: "x" },
    headers: { "ce-id": "1" },
  });
  expect(paths(binary)).toEqual([422, ["ce-specversion", "ce-source", "ce-type"]]);
  const control = await send([event("event.created", { event: "x", name: "a\u0000" })]);
  expect(paths(control)).toEqual([422, ["[0].data.name"]]);
});

test("a call takes at most 500 events and 200 rooms, from a server key alone", async () => {
  const users = Array.from({ length: 501 }, (_, index) => event("user.updated", { user: `u-${index}` }));
  expect(await send(users)).toMatchObject({ status: 422 });
  const rooms = Array.from({ length: 201 }, (_, index) => event("group.deleted", { group: `g-${index}` }));
  expect(await send(rooms)).toMatchObject({ status: 422 });
  expect(await send(rooms.slice(1))).toMatchObject({ status: 202, body: { accepted: 200 } });
  expect((await send([])).status).toBe(202);
  const ada = await tenant.user("ada");
  expect(await ada("POST", "/v1/events", { raw: "[]", headers: BATCH })).toMatchObject({ status: 403 });
  expect(
    await tenant.server("POST", "/v1/events", { raw: "[]", headers: { "content-type": "text/plain" } }),
  ).toMatchObject({
    status: 415,
  });
});

test("events make what they need, and ignore what does not exist", async () => {
  await tell(
    event("event.member.add", { event: "made", user: "m-ada", role: "speaker" }),
    event("group.updated", { group: "made", topic: "t", host: "m-bob" }),
    event("event.member.remove", { event: "unmade", user: "nobody" }),
    event("event.deleted", { event: "unmade" }),
    event("group.renamed", { group: "unmade", slug: "other" }),
    event("user.deleted", { user: "nobody" }),
  );
  expect(await members("event", "made")).toEqual({ "m-ada": "speaker" });
  expect(await members("group", "made")).toEqual({ "m-bob": "owner" });
  for (const [kind, slug] of [
    ["event", "unmade"],
    ["group", "unmade"],
    ["group", "other"],
  ] as const)
    expect(await room(kind, slug)).toBeNull();
  expect((await tenant.server("GET", "/v1/users/nobody")).status).toBe(404);
});

test("events make people whom nobody has made, also in a tenant that refuses unknown users elsewhere", async () => {
  const strict = await world.tenant("events-strict");
  await setTenantLimits(world.db, "events-strict", { unknownUsers: "refuse" });
  await send([event("event.member.add", { event: "e", user: "new" })], strict);
  expect((await strict.server("GET", "/v1/users/new")).status).toBe(200);
});

test("the last of several events counts, whatever came before in the call", async () => {
  await tell(
    event("event.created", { event: "folded", name: "One", host: "f-ada" }),
    event("event.member.add", { event: "folded", user: "f-bob", role: "moderator" }),
    event("event.member.remove", { event: "folded", user: "f-bob" }),
    event("event.member.add", { event: "folded", user: "f-carl" }),
    event("event.member.remove", { event: "folded", user: "f-carl" }),
    event("event.member.add", { event: "folded", user: "f-carl" }),
    event("event.updated", { event: "folded", name: "Two", posting: "speakers" }),
    event("user.updated", { user: "f-ada", displayName: "Ada" }),
    event("user.updated", { user: "f-ada", avatar: "https://example.org/a.png" }),
  );
  expect(await room("event", "folded")).toMatchObject({ name: "Two", posting: "speakers", members: 2 });
  expect(await members("event", "folded")).toEqual({ "f-ada": "owner", "f-carl": "member" });
  expect(await tenant.server("GET", "/v1/users/f-ada")).toMatchObject({
    body: { displayName: "Ada", avatar: "https://example.org/a.png" },
  });
  expect((await tenant.server("GET", "/v1/users/f-bob")).status).toBe(404);
});

test("a room that is deleted and made again in one call is another room, without the former members", async () => {
  await tell(event("event.created", { event: "again", name: "Old", host: "a-ada" }));
  const { epoch } = (await room("event", "again")) as { epoch: string };
  await tell(
    event("event.member.add", { event: "again", user: "a-bob" }),
    event("event.deleted", { event: "again" }),
    event("event.member.add", { event: "again", user: "a-carl" }),
  );
  expect(await room("event", "again")).toMatchObject({ name: "again", members: 1 });
  expect(((await room("event", "again")) as { epoch: string }).epoch).not.toBe(epoch);
  expect(await members("event", "again")).toEqual({ "a-carl": "member" });
});

test("a person who is deleted and made again in one call is another person", async () => {
  await tell(event("group.member.add", { group: "reborn", user: "phoenix" }));
  const old = await tenant.user("phoenix");
  await tell(
    event("group.member.add", { group: "reborn-2", user: "phoenix" }),
    event("user.deleted", { user: "phoenix" }),
    event("user.updated", { user: "phoenix", displayName: "New" }),
    event("group.member.add", { group: "reborn-3", user: "phoenix" }),
  );
  expect(await tenant.server("GET", "/v1/users/phoenix")).toMatchObject({ body: { displayName: "New" } });
  expect(await members("group", "reborn-2")).toEqual({});
  expect(await members("group", "reborn-3")).toEqual({ phoenix: "member" });
  expect((await old("GET", "/v1/me")).status).toBe(401);
});

test("the status of an attendee means a role or out, as the tenant's setting says", async () => {
  const statuses = ["confirmed", "Cancelled", "rejected", "pending", "waitlist", "invited", "maybe"];
  await tell(
    ...statuses.map((status) =>
      event("event.attendee.updated", { event: "rsvp", user: `r-${status}`, status }),
    ),
    event("event.attendee.updated", {
      event: "rsvp",
      user: "r-speaker",
      status: "confirmed",
      role: "speaker",
    }),
    event("event.member.add", { event: "rsvp", user: "r-owner", role: "owner" }),
    event("event.member.add", { event: "rsvp", user: "r-guest", role: "guest" }),
  );
  await tell(
    event("event.attendee.updated", { event: "rsvp", user: "r-owner", status: "confirmed" }),
    event("event.attendee.updated", { event: "rsvp", user: "r-guest", status: "confirmed" }),
    event("event.attendee.updated", { event: "rsvp", user: "r-rejected", status: "pending" }),
  );
  expect(await members("event", "rsvp")).toEqual({
    "r-confirmed": "member",
    "r-Cancelled": "member",
    "r-speaker": "speaker",
    "r-owner": "owner",
    "r-guest": "member",
  });
  const own = await world.tenant("events-rsvp");
  await setTenantLimits(world.db, "events-rsvp", { rsvp: { confirmed: "speaker", waitlist: "guest" } });
  const attend = (status: string) =>
    send([event("event.attendee.updated", { event: "e", user: "ada", status })], own);
  const roleNow = async () => (await own.server("GET", "/v1/rooms/event/e/members/ada")).body;
  await attend("confirmed");
  expect(await roleNow()).toMatchObject({ role: "speaker" });
  await attend("waitlist");
  expect(await roleNow()).toMatchObject({ role: "guest" });
  await attend("cancelled");
  expect((await own.server("GET", "/v1/rooms/event/e/members")).body).toMatchObject({ items: [] });
});

test("a person whom a moderator has banned is not added by a status, but by the backend's own event", async () => {
  await tell(event("event.member.add", { event: "banned", user: "b-ada" }));
  await tell(event("event.member.remove", { event: "banned", user: "b-ada" }));
  await world.db.raw(
    `insert into bans (room_id, user_id, tenant_id)
     select s.room_id, s.user_id, s.tenant_id from memberships s join users u on u.id = s.user_id where u.external_id = 'b-ada'`,
  );
  await tell(event("event.attendee.updated", { event: "banned", user: "b-ada", status: "confirmed" }));
  expect(await members("event", "banned")).toEqual({});
  await tell(event("event.member.add", { event: "banned", user: "b-ada" }));
  expect(await members("event", "banned")).toEqual({ "b-ada": "member" });
});

test("events follow a room that was renamed, but for one that makes a room at its former slug", async () => {
  await tell(event("event.created", { event: "former", name: "Kept", host: "n-ada" }));
  await tell(
    event("event.renamed", { event: "former", slug: "present" }),
    event("event.member.add", { event: "former", user: "n-bob" }),
  );
  await tell(event("event.member.add", { event: "former", user: "n-carl" }));
  expect(await room("event", "present")).toMatchObject({ name: "Kept", members: 3 });
  const ask = await tenant.server("GET", "/v1/rooms/event/former");
  expect([ask.status, ask.headers.get("location")]).toEqual([308, "/v1/rooms/event/present"]);
  await tell(
    event("event.created", { event: "former", name: "Another", host: "n-dora" }),
    event("event.member.add", { event: "former", user: "n-eve" }),
  );
  expect(await members("event", "former")).toEqual({ "n-dora": "owner", "n-eve": "member" });
  expect(await room("event", "present")).toMatchObject({ members: 3 });
});

test("a slug that another room has is not taken from it, and a slug that becomes free in the call can be used", async () => {
  await tell(
    event("group.created", { group: "one" }),
    event("group.created", { group: "two", host: "t-ada" }),
  );
  await tell(event("group.renamed", { group: "one", slug: "two" }));
  expect(await members("group", "two")).toEqual({ "t-ada": "owner" });
  await tell(
    event("group.renamed", { group: "two", slug: "three" }),
    event("group.renamed", { group: "one", slug: "two" }),
    event("group.created", { group: "one", host: "t-bob" }),
    event("group.created", { group: "four" }),
    event("group.renamed", { group: "four", slug: "five" }),
    event("group.member.add", { group: "four", user: "t-carl" }),
  );
  expect(await members("group", "three")).toEqual({ "t-ada": "owner" });
  expect(await members("group", "one")).toEqual({ "t-bob": "owner" });
  expect(await members("group", "five")).toEqual({ "t-carl": "member" });
  await tell(
    event("group.renamed", { group: "two", slug: "aside" }),
    event("group.renamed", { group: "three", slug: "two" }),
    event("group.renamed", { group: "aside", slug: "three" }),
  );
  expect(await members("group", "two")).toEqual({ "t-ada": "owner" });
});

test("a repeated event changes nothing, and appends nothing to the timeline", async () => {
  const data = { event: "calm", name: "Calm", host: "c-ada" };
  await tell(event("event.created", data));
  const { offset } = (await room("event", "calm")) as { offset: number };
  await tell(event("event.created", data), event("event.updated", { event: "calm", name: "Calm" }));
  expect(await room("event", "calm")).toMatchObject({ offset });
});

test("of twenty equal calls at once one is accepted, and all are answered", async () => {
  const events = [
    event("event.created", { event: "race", host: "race-ada" }),
    ...Array.from({ length: 20 }, (_, index) =>
      event("event.member.add", { event: `race-${index % 7}`, user: `race-${index}` }),
    ),
  ];
  const replies = await Promise.all(Array.from({ length: 20 }, () => send(events)));
  expect(replies.map(({ status }) => status)).toEqual(replies.map(() => 202));
  const accepted = replies.map(({ body }) => (body as { accepted: number }).accepted);
  expect(accepted.filter((count) => count > 0)).toEqual([events.length]);
  expect(await room("event", "race-3")).toMatchObject({ members: 3 });
});

test("calls that name the same rooms in different orders all succeed, when those that waited for too long are repeated", async () => {
  const slugs = Array.from({ length: 30 }, (_, index) => `crowd-${index}`);
  const calls = Array.from({ length: 6 }, (_, caller) => {
    const order = caller % 2 === 0 ? slugs : slugs.toReversed();
    return sendAgain(
      order.map((slug) => event("group.member.add", { group: slug, user: `crowd-${caller}` })),
    );
  });
  expect((await Promise.all(calls)).map(({ status }) => status)).toEqual(calls.map(() => 202));
  for (const slug of [slugs[0], slugs[29]])
    expect(await room("group", slug ?? "")).toMatchObject({ members: 6 });
});

test("a call that waits for a locked room for two seconds gets 503, and may be repeated", async () => {
  await tell(event("event.created", { event: "locked" }));
  const renamed = event("event.updated", { event: "locked", name: "Free" });
  await world.db.transaction(async (trx) => {
    await trx.raw(
      "select 1 from room_outbox o join rooms r on r.id = o.room_id where r.slug = 'locked' for update of o",
    );
    const reply = await send([renamed]);
    expect(reply.status).toBe(503);
    expect(reply.headers.get("retry-after")).toBe("1");
  });
  expect(await send([renamed])).toMatchObject({ status: 202, body: { accepted: 1, duplicates: 0 } });
  expect(await room("event", "locked")).toMatchObject({ name: "Free" });
});

test("500 events cost as many statements as five", async () => {
  const { id: tenantId } = (await world.tenant("events-cost")).row;
  const cost = async (events: readonly Event[]) => {
    const statements: string[] = [];
    const note = ({ sql }: { sql: string }) => statements.push(sql);
    world.db.on("query", note);
    const applied = await applyEvents(
      world.db,
      tenantId,
      events as unknown as ReceivedEvent[],
      DEFAULT_LIMITS,
    );
    world.db.off("query", note);
    expect(applied.accepted).toBe(events.length);
    return statements.length;
  };
  const few = makeMany(5, "few");
  const many = makeMany(500, "many");
  const made = [await cost(few), await cost(many)];
  const changed = [await cost(few.map(undo)), await cost(many.map(undo))];
  expect(made[1]).toBe(made[0]);
  expect(changed[1]).toBe(changed[0]);
  expect(Math.max(...made, ...changed)).toBeLessThanOrEqual(30);
});

const DEFAULT_LIMITS = tenantLimits.parse({});

/** Events of five kinds by turns, on at most 150 rooms. */
function makeMany(count: number, part: string): Event[] {
  return Array.from({ length: count }, (_, index) => {
    const slug = `${part}-${index % Math.min(150, count)}`;
    const user = `${part}-${index}`;
    const kinds = [
      event("event.updated", { event: slug, name: `Name ${index}`, host: "cost-host" }),
      event("user.updated", { user, displayName: "N" }),
      event("event.member.remove", { event: slug, user }),
      event("event.member.add", { event: slug, user, role: "speaker" }),
      event("event.attendee.updated", { event: slug, user, status: "confirmed" }),
    ];
    return kinds[index % kinds.length] ?? event("user.updated", { user });
  });
}

/** Changes all that the event made. */
function undo({ type, data }: Event): Event {
  const { role: _role, status: _status, host: _host, ...rest } = data as Record<string, unknown>;
  if (type === "chat.event.updated") return event("event.updated", { ...rest, name: "Other" });
  if (type === "chat.user.updated") return event("user.updated", { ...rest, displayName: "Other" });
  return event("event.member.remove", rest);
}
