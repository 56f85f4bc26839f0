import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { SignJWT } from "jose";
import { PROBLEMS } from "../../api/http/problem.ts";
import { revokeApiKey } from "../../shared/db/tenants/api-keys.ts";
import { openTokenKeys, rotateTokenKeys, setTenantStatus } from "../../shared/db/tenants/tenants.ts";
import {
  countRows,
  openApiWorld,
  type ApiWorld,
  type Ask,
  type Reply,
  type TestTenant,
} from "../support/api.ts";
import { until } from "../support/wait.ts";

let world: ApiWorld;
let tenant: TestTenant;
let other: TestTenant;
let ada: Ask;

const ROOM = "/v1/rooms/group/chess";
const POST = `${ROOM}/messages`;

beforeAll(async () => {
  world = await openApiWorld();
  tenant = await world.tenant("problems");
  other = await world.tenant("other");
  await tenant.server("PUT", ROOM, {
    body: { name: "Chess", members: [{ user: "ada" }, { user: "gil", role: "guest" }] },
  });
  await other.server("PUT", "/v1/rooms/group/theirs", {
    body: { name: "Theirs", members: [{ user: "ada" }] },
  });
  await tenant.server("PUT", "/v1/rooms/direct/ada~eve");
  ada = await tenant.user("ada");
  await ada("POST", POST, { body: { text: "taken", clientId: "taken" } });
});
afterAll(() => world.close());

function expectProblem(reply: Reply, code: keyof typeof PROBLEMS): void {
  expect(reply.body).toMatchObject({
    type: "about:blank",
    title: PROBLEMS[code].title,
    status: PROBLEMS[code].status,
    code,
    detail: expect.any(String),
    requestId: reply.headers.get("x-request-id"),
  });
  expect(reply.status).toBe(PROBLEMS[code].status);
  expect(reply.headers.get("content-type")).toMatch(/^application\/problem\+json/);
  expect(JSON.stringify(reply.body)).not.toMatch(/hs\.test|@omc_/);
}

const server: Who = () => tenant.server;
const user: Who = () => ada;
const anonymous: Who = () => world.as(null);
type Who = () => Ask | Promise<Ask>;
type Case = [string, keyof typeof PROBLEMS, Who, string, string, Parameters<Ask>[2]?];

const big = (bytes: number) => JSON.stringify({ text: "x".repeat(bytes) });

const cases: Case[] = [
  ["no credential", "unauthorized", anonymous, "GET", "/v1/me/rooms"],
  ["a garbage credential", "unauthorized", () => world.as("garbage"), "GET", "/v1/me/rooms"],
  ["a token of three dots", "unauthorized", () => world.as("a.b.c"), "GET", "/v1/me/rooms"],
  ["a garbage key", "unauthorized", () => world.as("omc_server_x_y"), "GET", ROOM],
  [
    "a key with another secret",
    "unauthorized",
    async () => world.as((await tenant.key("server")).key.replace(/.{4}$/, "aaaa")),
    "GET",
    ROOM,
  ],
  [
    "a key that claims another role",
    "unauthorized",
    async () => world.as((await tenant.key("viewer")).key.replace("viewer", "server")),
    "GET",
    ROOM,
  ],
  [
    "an expired token",
    "token_expired",
    async () => world.as(await tenant.token("ada", { nowMs: Date.now() - 7_200_000 })),
    "GET",
    "/v1/me/rooms",
  ],
  [
    "a token of the future",
    "unauthorized",
    async () => world.as(await tenant.token("ada", { nowMs: Date.now() + 600_000 })),
    "GET",
    "/v1/me/rooms",
  ],
  [
    "a token that lives two days",
    "unauthorized",
    async () => world.as(await tenant.token("ada", { lifetimeS: 172_800 })),
    "GET",
    "/v1/me/rooms",
  ],
  ["a user token for a backend's call", "wrong_credential", user, "GET", "/v1/users/ada"],
  ["a server key for a person's call", "wrong_credential", server, "GET", "/v1/me/rooms"],
  [
    "an operator key for a backend's call",
    "wrong_credential",
    async () => world.as((await tenant.key("operator")).key),
    "PUT",
    "/v1/users/x",
  ],
  [
    "a viewer key for a person's call",
    "wrong_credential",
    async () => world.as((await tenant.key("viewer")).key),
    "GET",
    POST,
  ],
  ["an unknown path", "not_found", server, "GET", "/v1/nothing"],
  ["a method that a path does not take", "method_not_allowed", server, "POST", ROOM],
  ["an unknown room", "not_found", server, "GET", "/v1/rooms/group/none"],
  ["an unknown kind", "not_found", server, "PUT", "/v1/rooms/club/x", { body: { name: "x" } }],
  ["a room that cannot be", "not_found", server, "GET", "/v1/rooms/group/UPPER"],
  ["a member of an unknown room", "not_found", server, "PUT", "/v1/rooms/group/none/members/ada"],
  ["an unknown user", "not_found", server, "GET", "/v1/users/none"],
  ["another tenant's room by its slug", "not_found", server, "GET", "/v1/rooms/group/theirs"],
  [
    "another tenant's room to write to",
    "not_found",
    user,
    "POST",
    "/v1/rooms/group/theirs/messages",
    { body: { text: "x" } },
  ],
  ["another tenant's room to read", "not_found", user, "GET", "/v1/rooms/group/theirs/messages"],
  [
    "a room that the user is not in",
    "not_found",
    () => tenant.user("outsider"),
    "POST",
    POST,
    { body: { text: "x" } },
  ],
  ["a message that is not there", "not_found", user, "GET", `${POST}/01a20674-1cd1-7305-9bc7-0e60f67e492b`],
  ["a message whose id is none", "not_found", user, "GET", `${POST}/1`],
  ["a guest who writes", "forbidden", () => tenant.user("gil"), "POST", POST, { body: { text: "x" } }],
  ["a broken escape in the path", "malformed", server, "GET", "/v1/users/%E0%A4%A"],
  ["a body that is no JSON", "malformed", user, "POST", POST, { raw: "{" }],
  [
    "a body that is not there",
    "malformed",
    user,
    "POST",
    POST,
    { raw: "", headers: { "content-type": "application/json" } },
  ],
  [
    "a body that is not UTF-8",
    "malformed",
    user,
    "POST",
    POST,
    { raw: Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x7d]) },
  ],
  [
    "a text that is not UTF-8",
    "malformed",
    user,
    "POST",
    POST,
    { raw: Buffer.concat([Buffer.from('{"text":"'), Buffer.from([0xc3]), Buffer.from('"}')]) },
  ],
  [
    "a form",
    "unsupported_media_type",
    user,
    "POST",
    POST,
    { raw: "text=x", headers: { "content-type": "application/x-www-form-urlencoded" } },
  ],
  [
    "JSON in Latin-1",
    "unsupported_media_type",
    user,
    "POST",
    POST,
    { raw: '{"text":"x"}', headers: { "content-type": "application/json; charset=iso-8859-1" } },
  ],
  [
    "a body that is packed",
    "unsupported_media_type",
    user,
    "POST",
    POST,
    { raw: '{"text":"x"}', headers: { "content-encoding": "gzip" } },
  ],
  ["a body of more than 64 KiB", "too_large", user, "POST", POST, { raw: big(70_000) }],
  ["a text of more than 10,000 bytes", "invalid", user, "POST", POST, { raw: big(10_001) }],
  [
    "a text of 10,000 bytes and some in UTF-8",
    "invalid",
    user,
    "POST",
    POST,
    { body: { text: "é".repeat(5_001) } },
  ],
  ["an empty text", "invalid", user, "POST", POST, { body: { text: "" } }],
  ["a text of spaces", "invalid", user, "POST", POST, { body: { text: "  \n\t " } }],
  ["a text that is never drawn", "invalid", user, "POST", POST, { body: { text: "\u200b\ufeff\u3000" } }],
  ["a user's name of spaces", "invalid", server, "PUT", "/v1/users/new-user", { body: { displayName: " " } }],
  [
    "a changed name of spaces",
    "invalid",
    server,
    "PATCH",
    "/v1/users/ada",
    { body: { displayName: "\u00a0" } },
  ],
  [
    "a room's name of spaces",
    "invalid",
    server,
    "PUT",
    "/v1/rooms/event/new-one",
    { body: { name: "\u2060" } },
  ],
  ["a topic of spaces", "invalid", server, "PATCH", ROOM, { body: { topic: "\u2003" } }],
  ["a text that is a number", "invalid", user, "POST", POST, { body: { text: 1 } }],
  ["an unknown field", "invalid", user, "POST", POST, { body: { text: "x", tenant: "other" } }],
  ["an array", "invalid", user, "POST", POST, { raw: "[]" }],
  ["half a surrogate pair", "invalid", user, "POST", POST, { raw: '{"text":"\\ud800"}' }],
  ["NUL", "invalid", user, "POST", POST, { raw: '{"text":"a\\u0000b"}' }],
  ["a control character", "invalid", user, "POST", POST, { raw: '{"text":"a\\u0007b"}' }],
  ["a field named __proto__", "invalid", user, "POST", POST, { raw: '{"text":"x","__proto__":{"a":1}}' }],
  [
    "a deep body",
    "invalid",
    user,
    "POST",
    POST,
    { raw: `{"text":${"[".repeat(2_000)}${"]".repeat(2_000)}}` },
  ],
  [
    "an id of the sender with a space",
    "invalid",
    user,
    "POST",
    POST,
    { body: { text: "x", clientId: "a b" } },
  ],
  [
    "two different idempotency keys",
    "invalid",
    user,
    "POST",
    POST,
    { body: { text: "x", clientId: "a" }, headers: { "idempotency-key": "b" } },
  ],
  [
    "an idempotency key that is too long",
    "invalid",
    user,
    "POST",
    POST,
    { body: { text: "x" }, headers: { "idempotency-key": "k".repeat(129) } },
  ],
  [
    "a key used for another message",
    "idempotency_key_reused",
    user,
    "POST",
    POST,
    { body: { text: "other", clientId: "taken" } },
  ],
  ["an unknown query parameter", "invalid", user, "GET", `${POST}?page=2`],
  ["a query where none is known", "invalid", server, "GET", `${ROOM}?x=1`],
  ["a limit of nought", "invalid", user, "GET", `${POST}?limit=0`],
  ["a limit of 101", "invalid", user, "GET", `${POST}?limit=101`],
  ["a limit that is no number", "invalid", user, "GET", `${POST}?limit=ten`],
  ["a limit twice", "invalid", user, "GET", `${POST}?limit=1&limit=2`],
  ["before together with after", "invalid", user, "GET", `${POST}?before=5&after=1`],
  ["a cursor that is none", "invalid", user, "GET", "/v1/me/rooms?cursor=bm9wZQ"],
  ["a user whose id cannot be", "invalid", server, "PUT", "/v1/users/-x", { body: {} }],
  [
    "a room whose slug is in capitals",
    "invalid",
    server,
    "PUT",
    "/v1/rooms/event/Py-Meetup",
    { body: { name: "x" } },
  ],
  ["a direct room in the wrong order", "invalid", server, "PUT", "/v1/rooms/direct/bob~ada"],
  [
    "a direct room with oneself",
    "invalid",
    server,
    "PUT",
    "/v1/rooms/direct",
    { body: { users: ["ada", "ada"] } },
  ],
  [
    "a direct room that is made public",
    "invalid",
    server,
    "PUT",
    "/v1/rooms/direct/ada~gil",
    { body: { visibility: "public" } },
  ],
  [
    "a direct room that is changed to be public",
    "invalid",
    server,
    "PATCH",
    "/v1/rooms/direct/ada~eve",
    { body: { visibility: "public" } },
  ],
  ["a room without a name", "invalid", server, "PUT", "/v1/rooms/event/new-one", { body: {} }],
  [
    "an avatar that is no URL",
    "invalid",
    server,
    "PUT",
    "/v1/users/new-user",
    { body: { avatar: "javascript:alert(1)" } },
  ],
  ["an unknown role", "invalid", server, "PUT", `${ROOM}/members/new-user`, { body: { role: "king" } }],
  [
    "a user named twice",
    "invalid",
    server,
    "POST",
    `${ROOM}/members`,
    { body: { members: [{ user: "new-user" }, { user: "new-user" }] } },
  ],
  [
    "one bad member among good ones",
    "invalid",
    server,
    "POST",
    `${ROOM}/members`,
    { body: { members: [{ user: "new-user" }, { user: "!" }] } },
  ],
  ["no members at all", "invalid", server, "POST", `${ROOM}/members`, { body: { members: [] } }],
  [
    "a token for a year",
    "invalid",
    server,
    "POST",
    "/v1/users/ada/tokens",
    { body: { expiresInS: 31_536_000 } },
  ],
  [
    "somebody else in a direct room",
    "conflict",
    server,
    "PUT",
    "/v1/rooms/direct/ada~gil",
    { body: { members: [{ user: "new-user" }] } },
  ],
];

test.each(cases)(
  "%s is refused as %s and changes nothing",
  async (_title, code, who, method, path, ...[options]) => {
    const ask = await who();
    const before = await countRows(world.db);
    expectProblem(await ask(method, path, options), code);
    expect(await countRows(world.db)).toEqual(before);
  },
);

test("a validation error names its path", async () => {
  const reply = await tenant.server("POST", `${ROOM}/members`, {
    body: { members: [{ user: "ok" }, { user: "!", rank: 1 }] },
  });
  const { errors } = reply.body as { errors: { path: string }[] };
  expect(errors.map(({ path }) => path).sort()).toEqual(["members.1.rank", "members.1.user"]);
});

test("a well-formed request id is returned, another one is replaced", async () => {
  const kept = await ada("GET", "/v1/me/rooms", { headers: { "x-request-id": "abc-123" } });
  expect(kept.headers.get("x-request-id")).toBe("abc-123");
  const replaced = await ada("GET", "/v1/me/rooms", { headers: { "x-request-id": "a b<script>" } });
  expect(replaced.headers.get("x-request-id")).toMatch(/^[0-9a-f-]{36}$/);
});

test("a token that names another tenant is refused", async () => {
  const keys = openTokenKeys(world.config.sealKeys, tenant.row);
  const forged = await new SignJWT({})
    .setProtectedHeader({ alg: "HS256", kid: keys.current.kid })
    .setIssuer("other")
    .setAudience("openmeet-chat")
    .setSubject("ada")
    .setIssuedAt()
    .setExpirationTime("1h")
    .sign(Buffer.from(keys.current.secret, "base64url"));
  expectProblem(await world.as(forged)("GET", "/v1/me/rooms"), "unauthorized");
});

test("tokens of the previous key stay valid, tokens of the key before that do not", async () => {
  const rotated = await world.tenant("rotated");
  const ask = await rotated.user("ada");
  await rotateTokenKeys(world.db, world.config.sealKeys, rotated.row.id);
  await ask("GET", "/v1/me/rooms");
  await rotateTokenKeys(world.db, world.config.sealKeys, rotated.row.id);
  await until(
    async () => (await ask("GET", "/v1/me/rooms")).status === 401,
    "the old key is no longer cached",
  );
});

test("a revoked key is refused at once", async () => {
  const { id, key } = await tenant.key("server");
  expect((await world.as(key)("GET", ROOM)).status).toBe(200);
  await revokeApiKey(world.db, id);
  expectProblem(await world.as(key)("GET", ROOM), "unauthorized");
});

test("a paused tenant's backend and people are refused, until it is resumed", async () => {
  const paused = await world.tenant("paused");
  await setTenantStatus(world.db, "paused", "paused");
  expectProblem(await paused.server("GET", "/v1/users/ada"), "forbidden");
  expectProblem(await (await paused.user("ada"))("GET", "/v1/me/rooms"), "forbidden");
  await setTenantStatus(world.db, "paused", "active");
  expect((await paused.server("PUT", "/v1/users/ada")).status).toBe(202);
});

test("a locked user neither reads nor writes", async () => {
  await tenant.server("PUT", `${ROOM}/members/locked`);
  await world.db.raw("update users set status = 'locked' where external_id = 'locked'");
  const locked = await tenant.user("locked");
  expectProblem(await locked("GET", "/v1/me/rooms"), "forbidden");
  expectProblem(await locked("GET", POST), "forbidden");
  expectProblem(await locked("POST", POST, { body: { text: "x" } }), "forbidden");
});

test("pages of every origin may call when the configuration names none", async () => {
  const preflight = await fetch(`${world.url}${POST}`, {
    method: "OPTIONS",
    headers: { origin: "https://app.example", "access-control-request-method": "POST" },
  });
  expect(preflight.status).toBe(204);
  expect(preflight.headers.get("access-control-allow-origin")).toBe("https://app.example");
  expect(preflight.headers.get("access-control-allow-headers")).toContain("Idempotency-Key");
});
