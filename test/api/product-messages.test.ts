import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { setTenantLimits } from "../../shared/db/tenants/tenants.ts";
import { openApiWorld, type ApiWorld, type Ask, type TestTenant } from "../support/api.ts";

let world: ApiWorld;
let tenant: TestTenant;
let ada: Ask;

const PATH = "/v1/rooms/event/talk/messages";

beforeAll(async () => {
  world = await openApiWorld();
  tenant = await world.tenant("speaking");
  for (const slug of ["talk", "other"])
    await tenant.server("PUT", `/v1/rooms/event/${slug}`, {
      body: { name: "Talk", posting: "speakers", members: [{ user: "ada" }] },
    });
  ada = await tenant.user("ada");
});
afterAll(() => world.close());

type Message = { id: string; number: number; sender: { ref: string; user: null }; text: string };

async function say(body: Record<string, unknown>): Promise<Message> {
  const reply = await tenant.server("POST", PATH, { body });
  expect(reply.status).toBe(202);
  return reply.body as Message;
}

test("the product speaks in a room without being a member, as a notice by the tenant", async () => {
  const said = await say({ text: "Doors open at seven" });
  expect(said).toMatchObject({
    kind: "notice",
    status: "queued",
    sender: { user: null, displayName: "speaking", avatar: null },
  });
  const { body } = await ada("GET", PATH);
  expect(body).toMatchObject({ items: [{ id: said.id, sender: said.sender, number: said.number }] });
  expect(await ada("GET", "/v1/me/unread")).toMatchObject({ body: { unread: 1 } });
  const { rows } = await world.db.raw<{ rows: unknown[] }>(
    "select sender_id, acts_as from messages where id = ?",
    [said.id],
  );
  expect(rows).toEqual([{ sender_id: null, acts_as: "observer" }]);
});

test("the product speaks with the name and avatar that the tenant has now, in history and in replies", async () => {
  const said = await say({
    text: "**Welcome** @ada",
    format: "markdown",
    kind: "text",
    mentions: { users: ["ada"] },
  });
  await setTenantLimits(world.db, "speaking", { name: "Py Events", avatar: "https://example.org/py.png" });
  const sender = {
    ref: said.sender.ref,
    user: null,
    displayName: "Py Events",
    avatar: "https://example.org/py.png",
  };
  expect(await ada("GET", `${PATH}/${said.id}`)).toMatchObject({
    body: { kind: "text", html: expect.stringContaining("<strong>"), mentions: { users: ["ada"] }, sender },
  });
  const reply = await say({ text: "More", replyTo: said.id });
  expect(reply).toMatchObject({ sender, replyTo: { id: said.id, sender } });
  expect(await ada("GET", "/v1/me/unread")).toMatchObject({ body: { mentions: 1 } });
});

test("a client id is accepted once in the tenant, for all rooms, and for each person apart from that", async () => {
  const body = { text: "Once", clientId: "reminder-1" };
  const first = await say(body);
  const again = await tenant.server("POST", PATH, { body });
  expect(again).toMatchObject({ status: 202, body: { id: first.id } });
  expect(again.headers.get("idempotency-replayed")).toBe("true");
  for (const [path, text] of [
    [PATH, "Other"],
    ["/v1/rooms/event/other/messages", "Once"],
  ] as const) {
    const reply = await tenant.server("POST", path, { body: { text, clientId: "reminder-1" } });
    expect(reply).toMatchObject({ status: 422, body: { code: "idempotency_key_reused" } });
  }
  const replies = await Promise.all(
    Array.from({ length: 10 }, () =>
      tenant.server("POST", PATH, { body: { text: "Race", clientId: "race" } }),
    ),
  );
  expect(new Set(replies.map((reply) => (reply.body as Message).id)).size).toBe(1);
  const stranger = await world.tenant("speaking-too");
  await stranger.server("PUT", "/v1/rooms/event/talk", { body: { name: "Talk" } });
  expect(await stranger.server("POST", PATH, { body })).toMatchObject({ status: 202 });
});

test("the product gets 404 for a room that does not exist, and 422 for what a message may not hold", async () => {
  expect(await tenant.server("POST", "/v1/rooms/event/none/messages", { body: { text: "x" } })).toMatchObject(
    {
      status: 404,
    },
  );
  expect(
    await tenant.server("POST", PATH, { body: { text: "x", mentions: { users: ["nobody"] } } }),
  ).toMatchObject({
    status: 422,
    body: { errors: [{ path: "mentions.users[0]" }] },
  });
  expect(await tenant.server("POST", PATH, { body: { text: "" } })).toMatchObject({ status: 422 });
});

test("a server key reads rooms, messages and members without acting as anybody", async () => {
  const said = await say({ text: "Read me" });
  const page = await tenant.server("GET", `${PATH}?limit=1`);
  expect(page).toMatchObject({
    status: 200,
    body: { items: [{ id: said.id, myReactions: [] }], hasMore: true },
  });
  expect(await tenant.server("GET", `${PATH}/${said.id}`)).toMatchObject({
    status: 200,
    body: { text: "Read me" },
  });
  expect(await tenant.server("GET", "/v1/rooms/event/talk")).toMatchObject({ status: 200 });
  expect(await tenant.server("GET", "/v1/rooms/event/talk/members")).toMatchObject({ status: 200 });
  expect(await tenant.server("GET", "/v1/rooms/event/none/messages")).toMatchObject({ status: 404 });
});
