import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { decodeJwt, SignJWT } from "jose";
import { createAuthenticate, createFindTenant } from "../../api/auth/authenticate.ts";
import { openTokenKeys, setTenantLimits } from "../../shared/db/tenants/tenants.ts";
import { User } from "../../shared/db/users/users.ts";
import { openApiWorld, type ApiWorld, type Ask, type TestTenant } from "../support/api.ts";

let world: ApiWorld;
let tenant: TestTenant;

beforeAll(async () => {
  world = await openApiWorld();
  tenant = await world.tenant("tokens");
});
afterAll(() => world.close());

async function signed(user: string, { server } = tenant): Promise<string> {
  const answer = await server("POST", `/v1/users/${user}/tokens`);
  expect(answer.status).toBe(200);
  return (answer.body as { token: string }).token;
}

/** A token as a product signs it, with any claims. */
async function sign(claims: Record<string, unknown>, header: { kid?: string } = {}): Promise<string> {
  const { current } = openTokenKeys(world.config.sealKeys, tenant.row);
  const nowS = Math.floor(Date.now() / 1_000);
  return new SignJWT({
    ...{ iss: "tokens", aud: "openmeet-chat", sub: "ada", iat: nowS, exp: nowS + 60 },
    ...claims,
  })
    .setProtectedHeader({ alg: "HS256", kid: current.kid, ...header })
    .sign(Buffer.from(current.secret, "base64url"));
}

/** A room with a user who has written a message under a client id. Returns what a token of that user may ask for. */
async function openRoom(
  user: string,
  of = tenant,
): Promise<{ room: string; calls: [string, (ask: Ask) => ReturnType<Ask>][] }> {
  const room = `/v1/rooms/group/room-of-${user}`;
  await of.server("PUT", room, { body: { name: "R", members: [{ user }] } });
  const mine = world.as(await signed(user, of));
  const body = { text: "mine", clientId: "mine" };
  const posted = await mine("POST", `${room}/messages`, { body });
  expect(posted.status).toBe(202);
  const { id } = posted.body as { id: string };
  return {
    room,
    calls: [
      ["list rooms", (ask) => ask("GET", "/v1/me/rooms")],
      ["read messages", (ask) => ask("GET", `${room}/messages`)],
      ["read a message", (ask) => ask("GET", `${room}/messages/${id}`)],
      ["send a message", (ask) => ask("POST", `${room}/messages`, { body: { text: "not mine" } })],
      ["repeat a message", (ask) => ask("POST", `${room}/messages`, { body })],
      ["read an unknown room", (ask) => ask("GET", "/v1/rooms/group/no-room-at-all/messages")],
      [
        "write in an unknown room",
        (ask) => ask("POST", "/v1/rooms/group/no-room/messages", { body: { text: "x" } }),
      ],
    ],
  };
}

async function expectRefused(token: string, calls: [string, (ask: Ask) => ReturnType<Ask>][]): Promise<void> {
  for (const [title, call] of calls) {
    const { status, body } = await call(world.as(token));
    expect([title, status, body]).toEqual([title, 401, expect.objectContaining({ code: "unauthorized" })]);
  }
}

describe("a token of a deleted user", () => {
  test("is refused, also after another user got the name, whether we or the product signed it", async () => {
    await tenant.server("PUT", "/v1/users/reused");
    const ours = await signed("reused");
    const products = await tenant.token("reused");
    await tenant.server("DELETE", "/v1/users/reused");
    await expectRefused(ours, [["list rooms", (ask) => ask("GET", "/v1/me/rooms")]]);
    // The room makes the user again.
    const { room, calls } = await openRoom("reused");
    await expectRefused(ours, calls);
    await expectRefused(products, calls);
    const page = await world.as(await signed("reused"))("GET", `${room}/messages`);
    expect((page.body as { items: unknown[] }).items).toHaveLength(1);
  });

  test("does not read by its client id what the next user sent, while the tenant's queue is full", async () => {
    const full = await world.tenant("full");
    await full.server("PUT", "/v1/users/full");
    const ours = await signed("full", full);
    await full.server("DELETE", "/v1/users/full");
    const { calls } = await openRoom("full", full);
    const repeated = calls.filter(([title]) => title === "repeat a message");
    await setTenantLimits(world.db, "full", { queuedMessages: 1 });
    // The limits are cached for a second.
    const mine = world.as(await signed("full", full));
    for (let status = 0; status !== 503;)
      ({ status } = await mine("POST", "/v1/rooms/group/room-of-full/messages", { body: { text: "x" } }));
    expect((await repeated[0]?.[1](mine))?.status).toBe(202);
    expect((await repeated[0]?.[1](world.as(ours)))?.status).not.toBe(202);
  });

  test("differs from one of the next user by a margin of 31 s, for tokens that the product signs", async () => {
    await tenant.server("PUT", "/v1/users/margin");
    await tenant.server("DELETE", "/v1/users/margin");
    await tenant.server("PUT", "/v1/users/margin");
    const rows = await User.query(world.db).where({ external_id: "margin" }).orderBy("created_at");
    const [former, next] = rows;
    expect(next?.product_tokens_valid_from.getTime()).toBe((former?.deleted_at?.getTime() ?? 0) + 31_000);
    // Half a minute later:
    await world
      .db("users")
      .where({ id: next?.id })
      .update({ product_tokens_valid_from: world.db.raw("product_tokens_valid_from - interval '31 s'") });
    const at = Math.ceil(former?.deleted_at?.getTime() ?? 0);
    const statuses = [];
    for (const nowMs of [at - 1_000, at + 1_000])
      statuses.push((await world.as(await tenant.token("margin", { nowMs }))("GET", "/v1/me/rooms")).status);
    expect(statuses).toEqual([401, 200]);
  });
});

describe("revoking a user's tokens", () => {
  test("refuses those that were signed before, ours and the product's, and not those that are signed after", async () => {
    const { calls, room } = await openRoom("revoked");
    const ours = await signed("revoked");
    const products = await tenant.token("revoked");
    const ahead = await tenant.token("revoked", { nowMs: Date.now() + 5_000 });
    const beforeS = Math.floor(Date.now() / 1_000);
    const answer = await tenant.server("DELETE", "/v1/users/revoked/tokens");
    const { user, validFrom } = answer.body as { user: string; validFrom: string };
    expect([answer.status, user]).toEqual([200, "revoked"]);
    expect(validFrom).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.000Z$/);
    const fromS = Date.parse(validFrom) / 1_000;
    expect(fromS).toBeGreaterThan(beforeS);
    expect(fromS).toBeLessThanOrEqual(Math.floor(Date.now() / 1_000) + 1);
    await expectRefused(ours, calls);
    await expectRefused(products, calls);

    const later = await signed("revoked");
    expect(decodeJwt(later).iat).toBeGreaterThanOrEqual(fromS);
    for (const token of [later, ahead])
      expect((await world.as(token)("GET", `${room}/messages`)).status).toBe(200);
  });

  test("refuses also what was signed between two revocations of one second", async () => {
    await tenant.server("PUT", "/v1/users/twice");
    const validFroms: string[] = [];
    const between: string[] = [];
    for (let time = 0; time < 3; time++) {
      const answer = await tenant.server("DELETE", "/v1/users/twice/tokens");
      validFroms.push((answer.body as { validFrom: string }).validFrom);
      between.push(await signed("twice"));
    }
    expect(validFroms).toEqual([...new Set(validFroms)].sort());
    const statuses = [];
    for (const token of between) statuses.push((await world.as(token)("GET", "/v1/me/rooms")).status);
    expect(statuses).toEqual([401, 401, 200]);
  });

  test("is limited, so that new tokens are never of the future", async () => {
    await tenant.server("PUT", "/v1/users/often");
    const codes: number[] = [];
    for (let time = 0; time < 40 && !codes.includes(429); time++)
      codes.push((await tenant.server("DELETE", "/v1/users/often/tokens")).status);
    expect(codes.at(-1)).toBe(429);
    expect((await world.as(await signed("often"))("GET", "/v1/me/rooms")).status).toBe(200);
  });

  test("of an unknown user is not found, and needs a server key", async () => {
    expect((await tenant.server("DELETE", "/v1/users/nemo/tokens")).status).toBe(404);
    await tenant.server("PUT", "/v1/users/self");
    const self = world.as(await signed("self"));
    expect((await self("DELETE", "/v1/users/self/tokens")).body).toMatchObject({ code: "wrong_credential" });
  });
});

describe("a refused token", () => {
  test("is refused in the same words whether its tenant is unknown, its key or its signature", async () => {
    await tenant.server("PUT", "/v1/users/ada");
    const good = await sign({});
    const refused = {
      "an unknown tenant": await sign({ iss: "no-such-tenant" }),
      "an unknown key": await sign({}, { kid: "other" }),
      "an unknown key and no claims": await sign({ exp: undefined, aud: "x" }, { kid: "other" }),
      "another signature": good.replace(/.{8}$/, "AAAAAAAA"),
      "an expired one with another signature": (await sign({ exp: 1 })).replace(/.{8}$/, "AAAAAAAA"),
    };
    const answers = [];
    for (const token of Object.values(refused)) {
      const { status, body, headers } = await world.as(token)("GET", "/v1/me/rooms");
      const { requestId: _, ...problem } = body as { requestId: string };
      const names = [...headers.keys()].filter((name) => name !== "date");
      answers.push({ status, problem, names });
    }
    expect(answers[0]).toMatchObject({ status: 401, problem: { detail: "The token is not valid." } });
    for (const answer of answers) expect(answer).toEqual(answers[0]);
  });

  test("costs one reading of its tenant, whether that exists or not", async () => {
    const { sealKeys } = world.config;
    const findTenant = createFindTenant(world.db, sealKeys, Date.now);
    const authenticate = createAuthenticate({ db: world.db, findTenant, now: Date.now });
    const readings = async (token: string) => {
      const statements: string[] = [];
      const note = ({ sql }: { sql: string }) => statements.push(sql);
      // A good token first: its tenant is cached.
      await authenticate(`Bearer ${await sign({})}`);
      world.db.on("query", note);
      await authenticate(`Bearer ${token}`).catch(() => undefined);
      world.db.off("query", note);
      return statements.length;
    };
    expect(await readings(await sign({}))).toBe(0);
    expect(await readings(await sign({ iss: "no-such-tenant" }))).toBe(1);
    expect(await readings(await sign({}, { kid: "other" }))).toBe(1);
  });

  test.each<[string, Record<string, unknown>, RegExp]>([
    ["no exp", { exp: undefined }, /claim exp must be a number/],
    ["a textual exp", { exp: "in an hour" }, /claim exp must be a number/],
    ["a numeric text as exp", { exp: "4000000000" }, /claim exp must be a number/],
    ["no iat", { iat: undefined }, /claim iat must be a number/],
    ["a textual iat", { iat: "now" }, /claim iat must be a number/],
    ["an iat of the future", { iat: Date.now() / 1_000 + 600 }, /claim iat is of the future/],
    [
      "a life of two days",
      { exp: Date.now() / 1_000 + 172_800 },
      /claim exp must be at most 24 hours after iat/,
    ],
    ["no aud", { aud: undefined }, /claim aud must be openmeet-chat/],
    ["another aud", { aud: "others" }, /claim aud must be openmeet-chat/],
    ["no sub", { sub: undefined }, /claim sub must be a user id/],
    ["a sub that is no user id", { sub: "a b" }, /claim sub must be a user id/],
    ["an nbf of the future", { nbf: Date.now() / 1_000 + 600 }, /claim nbf must be/],
    ["a generation that is none", { omc_gen: 7 }, /claim omc_gen must be/],
  ])("with %s names the claim and no tenant", async (_title, claims, words) => {
    const { status, body } = await world.as(await sign(claims))("GET", "/v1/me/rooms");
    expect([status, body]).toEqual([
      401,
      expect.objectContaining({ code: "unauthorized", detail: expect.stringMatching(words) }),
    ]);
    expect(JSON.stringify(body)).not.toMatch(/tenant|tokens/);
  });

  test("is none with fractions of a second in its times, as Python makes them", async () => {
    const nowS = Date.now() / 1_000;
    const token = await sign({ iat: nowS - 0.25, exp: nowS + 60.5, nbf: nowS - 0.125 });
    expect((await world.as(token)("GET", "/v1/me/rooms")).status).toBe(200);
  });
});
