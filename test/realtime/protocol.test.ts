import { afterAll, afterEach, beforeAll, describe, expect, test } from "@jest/globals";
import { once } from "node:events";
import { signUserToken } from "../../shared/auth/tokens.ts";
import {
  closeListeners,
  connectListener,
  connectRaw,
  createListener,
  RawSocket,
  waitFor,
} from "../support/centrifuge.ts";
import { openWorld, type RealtimeNode, type World } from "../support/realtime.ts";

let world: World;
let node: RealtimeNode;
const raws: RawSocket[] = [];
beforeAll(async () => {
  world = await openWorld({ redisDatabase: 7 });
  node = await world.node({
    allowedOrigins: ["https://app.example"],
    limits: { channels: 8, commandBurst: 40, errorBurst: 12, userSockets: 100 },
  });
  await world.room("group:chess", ["ada", "bob"]);
});
afterEach(() => {
  closeListeners();
  for (const raw of raws.splice(0)) raw.end();
});
afterAll(() => world.close());

async function openRaw(): Promise<RawSocket> {
  const raw = await new RawSocket(node).opened();
  raws.push(raw);
  return raw;
}

async function letIn(user = "ada"): Promise<RawSocket> {
  const raw = await connectRaw(node, await world.token(user));
  raws.push(raw);
  return raw;
}

const past = (ageS: number) => ({ nowMs: Date.now() - ageS * 1_000, lifetimeS: 60 });

describe("a connection", () => {
  test.each([
    ["no token", "", 3501],
    ["nonsense", "nonsense", 3500],
    ["a token of no tenant", "eyJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJub2JvZHkifQ.c2ln", 3500],
  ])("with %s is refused", async (_title, token, code) => {
    const raw = await openRaw();
    raw.send({ id: 1, connect: token === "" ? {} : { token } });
    expect(await raw.closed()).toBe(code);
  });

  test("with a token that is signed with a foreign key is refused for good", async () => {
    const keys = { current: { kid: "x", secret: Buffer.alloc(32, 1).toString("base64url") }, previous: null };
    const claims = { tenant: world.tenant.slug, user: "ada" };
    const { token } = await signUserToken(keys, claims, { nowMs: Date.now(), lifetimeS: 60 });
    const client = createListener(node, { token });
    client.client.connect();
    await waitFor(() => client.disconnected.length > 0);
    expect(client.disconnected).toEqual([3500]);
  });

  test("of an unknown, a deleted or a locked user is refused for good", async () => {
    const unknown = await world.token("unknown");
    await world.db("users").where({ external_id: "unknown" }).delete();
    const deleted = await world.token("deleted");
    await world.db("users").where({ external_id: "deleted" }).update({ deleted_at: world.db.fn.now() });
    const locked = await world.token("locked");
    await world.db("users").where({ external_id: "locked" }).update({ status: "locked" });
    const codes = await Promise.all(
      [unknown, deleted, locked].map(async (token) => {
        const raw = await openRaw();
        raw.send({ id: 1, connect: { token } });
        return raw.closed();
      }),
    );
    expect(codes).toEqual([3500, 3503, 3503]);
  });

  test("with a token of a former user of the same name is refused for good, also one that the product signed", async () => {
    const [ours, products] = [await world.ownToken("phoenix"), await world.token("phoenix")];
    await world.deleteUser("phoenix");
    const next = await connectRaw(node, await world.ownToken("phoenix"));
    raws.push(next);
    expect(next.replies[0]).toMatchObject({ id: 1, connect: {} });
    for (const token of [ours, products]) {
      const raw = await openRaw();
      raw.send({ id: 1, connect: { token } });
      expect(await raw.closed()).toBe(3503);
    }
    next.send({ id: 2, refresh: { token: ours } });
    expect(await next.closed()).toBe(3503);
  });

  test("with a revoked token is closed and refused for good, and one with a later token stays", async () => {
    const revoked = [await world.ownToken("rita"), await world.token("rita")];
    const open = await Promise.all(revoked.map((token) => connectRaw(node, token)));
    raws.push(...open);
    await world.revoke("rita", { isPublished: false });
    const later = await connectRaw(node, await world.ownToken("rita"));
    raws.push(later);
    await world.revoke("bob");
    for (const raw of open) expect(await raw.closed()).toBe(3503);
    for (const token of revoked) {
      const raw = await openRaw();
      raw.send({ id: 1, connect: { token } });
      expect(await raw.closed()).toBe(3503);
    }
    later.send({ id: 2, refresh: { token: await world.ownToken("rita") } });
    expect((await later.reply(2))["refresh"]).toMatchObject({ expires: true });
    later.send({ id: 3, refresh: { token: revoked[0] } });
    expect(await later.closed()).toBe(3503);
  });

  test("is kept by a revocation when it was refreshed with a later token", async () => {
    const raw = await connectRaw(node, await world.ownToken("renee"));
    raws.push(raw);
    await world.revoke("renee", { isPublished: false });
    raw.send({ id: 2, refresh: { token: await world.ownToken("renee") } });
    expect((await raw.reply(2))["refresh"]).toMatchObject({ expires: true });
    // Publishes what is in the outbox, in order.
    const other = await connectRaw(node, await world.ownToken("bob"));
    raws.push(other);
    await world.revoke("bob");
    expect(await other.closed()).toBe(3503);
    raw.send({ id: 3, refresh: { token: await world.ownToken("renee") } });
    expect((await raw.reply(3))["refresh"]).toMatchObject({ expires: true });
  });

  test("is refused alike for an unknown tenant, an unknown key and another signature", async () => {
    const signAs = async (slug: string) => {
      const keys = {
        current: { kid: "x", secret: Buffer.alloc(32, 1).toString("base64url") },
        previous: null,
      };
      const times = { nowMs: Date.now(), lifetimeS: 60 };
      return (await signUserToken(keys, { tenant: slug, user: "ada" }, times)).token;
    };
    const tokens = [
      await signAs("no-such-tenant"),
      await signAs(world.tenant.slug),
      (await world.token("ada")).replace(/.{8}$/, "AAAAAAAA"),
    ];
    const closes = [];
    for (const token of tokens) {
      const raw = await openRaw();
      const closed = once(raw.socket, "close");
      raw.send({ id: 1, connect: { token } });
      const [code, reason] = (await closed) as [number, Buffer];
      closes.push([code, reason.toString(), raw.frames]);
    }
    expect(closes).toEqual(tokens.map(() => [3500, "invalid token", []]));
  });

  test("of a paused tenant's user is refused", async () => {
    await world.db("tenants").where({ id: world.tenant.id }).update({ status: "paused" });
    const raw = await openRaw();
    raw.send({ id: 1, connect: { token: await world.token("ada") } });
    const code = await raw.closed();
    await world.db("tenants").where({ id: world.tenant.id }).update({ status: "active" });
    expect(code).toBe(3500);
  });

  test("with an expired token succeeds after the client has fetched a new one", async () => {
    const expired = await world.token("ada", past(200));
    const client = createListener(node, { token: expired, getToken: () => world.token("ada") });
    const errors: number[] = [];
    client.client.on("error", ({ error }) => errors.push(error.code));
    client.client.connect();
    await client.client.ready(20_000);
    // On a busy machine the second attempt may be late, and a third one follows (100).
    expect(errors.filter((code) => code !== 100)).toEqual([109]);
  });

  test("lasts while the client refreshes its token", async () => {
    let fetched = 0;
    const getToken = async () => {
      fetched++;
      return world.token("ada");
    };
    const client = await connectListener(node, await world.token("ada", { lifetimeS: 1 }), { getToken });
    await waitFor(() => fetched === 1);
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(client.connecting).toHaveLength(1);
    expect(client.disconnected).toEqual([]);
  });

  test("is closed by a refresh with another user's token, not by one with an expired token", async () => {
    const raw = await letIn();
    raw.send({ id: 2, refresh: { token: await world.token("ada", past(200)) } });
    expect((await raw.reply(2)).error).toEqual({ code: 109, message: "token expired", temporary: true });
    raw.send({ id: 3, refresh: { token: await world.token("ada") } });
    expect((await raw.reply(3))["refresh"]).toMatchObject({ expires: true, ttl: expect.any(Number) });
    // Not of a user whose tokens another test has just revoked: that closes with 3503.
    raw.send({ id: 4, refresh: { token: await world.token("ben") } });
    expect(await raw.closed()).toBe(3500);
  });
});

describe("upgrades", () => {
  async function status(protocols: string[], headers: Record<string, string>): Promise<number> {
    const raw = new RawSocket(node, protocols, headers);
    raws.push(raw);
    const answered = once(raw.socket, "unexpected-response").then(
      ([, response]: unknown[]) => response as { statusCode: number },
    );
    const opened = once(raw.socket, "open").then(() => ({ statusCode: 101 }));
    const result = await Promise.race([answered, opened]);
    return result.statusCode;
  }

  test.each([
    ["no sub-protocol", 101, [], {}],
    ["centrifuge-json", 101, ["centrifuge-json"], {}],
    ["centrifuge-protobuf", 400, ["centrifuge-protobuf"], {}],
    ["an allowed origin", 101, [], { origin: "https://app.example" }],
    ["another origin", 403, [], { origin: "https://evil.example" }],
  ])("an upgrade with %s is answered %s", async (_title, expected, protocols, headers) => {
    expect(await status(protocols, headers as Record<string, string>)).toBe(expected);
  });

  test("a page connects users of the tenants that name its origin, and of no other", async () => {
    const origin = "https://own.example";
    const setOrigins = (origins: string[]) =>
      world
        .db("tenants")
        .where({ id: world.tenant.id })
        .update({ limits: { allowedOrigins: origins } });
    const connect = async (from: string): Promise<RawSocket> => {
      const raw = await new RawSocket(node, [], { origin: from }).opened();
      raws.push(raw);
      raw.send({ id: 1, connect: { token: await world.token("ada") } });
      return raw;
    };
    await setOrigins([origin]);
    await waitFor(async () => (await status([], { origin })) === 101, 8_000);
    expect((await (await connect(origin)).reply(1))["connect"]).toBeDefined();
    expect(await (await connect("https://app.example")).closed()).toBe(3503);
    await world.db("tenants").where({ id: world.tenant.id }).update({ limits: {} });
    expect((await (await connect("https://app.example")).reply(1))["connect"]).toBeDefined();
  });

  test("the same port serves the health and the metrics of the process", async () => {
    const get = (path: string) => fetch(`http://127.0.0.1:${node.port}${path}`);
    expect((await get("/livez")).status).toBe(200);
    expect(await (await get("/readyz")).json()).toEqual({ ready: true, degraded: [], transport: "uws" });
    expect(await (await get("/metrics")).text()).toContain("omc_realtime_connections");
    expect((await get("/nothing")).status).toBe(404);
  });
});

describe("messages outside the protocol", () => {
  test.each([
    ["broken JSON", "{"],
    ["an empty frame", ""],
    ["a list", "[]"],
    ["an unknown method", '{"id":1,"fly":{}}'],
    ["a command without an id", '{"connect":{"token":"x"}}'],
    ["an id of 0", '{"id":0,"ping":{}}'],
    ["two methods at once", '{"id":1,"ping":{},"rpc":{}}'],
    ["a command before connect", '{"id":1,"subscribe":{"channel":"group:chess"}}'],
    ["a pong that was not asked for", "{}"],
    ["a name of the language", '{"id":1,"__proto__":{},"constructor":{}}'],
    ["channels that are no text", '{"id":1,"connect":{"token":"x","subs":[1]}}'],
  ])("%s closes the connection with 3501", async (_title, text) => {
    const raw = await openRaw();
    raw.socket.send(text);
    expect(await raw.closed()).toBe(3501);
  });

  test("a second connect closes the connection", async () => {
    const raw = await letIn();
    raw.send({ id: 2, connect: { token: await world.token("ada") } });
    expect(await raw.closed()).toBe(3501);
  });

  test("commands in the frame of a refused connect are not read", async () => {
    const raw = await openRaw();
    const token = await world.token("ada", past(200));
    raw.send({ id: 1, connect: { token } }, { id: 2, subscribe: { channel: "group:chess" } });
    expect((await raw.reply(1)).error?.code).toBe(109);
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(raw.replies).toHaveLength(1);
    expect(raw.closeCode).toBeNull();
  });

  test("a send closes with 3508, and a binary message with 3506", async () => {
    const sender = await letIn();
    sender.send({ send: { data: 1 } });
    expect(await sender.closed()).toBe(3508);
    const binary = await letIn();
    binary.socket.send(Buffer.from('{"id":2,"ping":{}}'));
    expect(await binary.closed()).toBe(3506);
  });

  test("a message over 64 KiB closes with 1009", async () => {
    const raw = await letIn();
    raw.socket.send("x".repeat(70_000));
    expect(await raw.closed()).toBe(1009);
  });

  test("too many commands at once close with a code to reconnect", async () => {
    const raw = await letIn();
    raw.send(...Array.from({ length: 60 }, (_, n) => ({ id: n + 2, ping: {} })));
    expect(await raw.closed()).toBe(3013);
  });

  test("too many refused commands close for good", async () => {
    const raw = await letIn();
    raw.send(
      ...Array.from({ length: 20 }, (_, n) => ({ id: n + 2, publish: { channel: "group:chess", data: {} } })),
    );
    expect(await raw.closed()).toBe(3509);
  });
});

describe("commands", () => {
  test("several commands in one frame are answered in order", async () => {
    const raw = await letIn();
    raw.send(
      { id: 2, ping: {} },
      { id: 3, publish: { channel: "group:chess", data: {} } },
      { id: 4, presence: { channel: "group:chess" } },
      { id: 5, presence_stats: { channel: "group:chess" } },
      { id: 6, history: { channel: "group:chess" } },
      { id: 7, rpc: { method: "x" } },
      { id: 8, sub_refresh: { channel: "group:chess" } },
    );
    await raw.reply(8);
    const replies = raw.replies.filter(({ id = 0 }) => id > 1);
    expect(replies.map(({ id, error }) => [id, error?.code])).toEqual([
      [2, undefined],
      [3, 103],
      [4, 108],
      [5, 108],
      [6, 108],
      [7, 108],
      [8, 108],
    ]);
  });

  test("a room is subscribed once, and only by its members", async () => {
    await world.room("group:private", ["bob"]);
    const raw = await letIn();
    raw.send(
      { id: 2, subscribe: { channel: "group:chess" } },
      { id: 3, subscribe: { channel: "group:private" } },
      { id: 4, subscribe: { channel: "group:nowhere" } },
      { id: 5, subscribe: { channel: "user:bob" } },
      { id: 6, subscribe: { channel: "no key at all" } },
      { id: 7, subscribe: { channel: "__proto__" } },
    );
    await raw.reply(7);
    expect([2, 3, 4, 5, 6, 7].map((id) => raw.replies.find((reply) => reply.id === id)?.error?.code)).toEqual(
      [105, 103, 103, 103, 103, 103],
    );
  });

  test("a room can be unsubscribed and subscribed again, and a second subscribe in one frame is refused", async () => {
    const raw = await letIn();
    raw.send(
      { id: 2, unsubscribe: { channel: "group:chess" } },
      { id: 3, subscribe: { channel: "group:chess" } },
      { id: 4, subscribe: { channel: "group:chess" } },
      { id: 5, unsubscribe: { channel: "group:chess" } },
      { id: 6, unsubscribe: { channel: "group:chess" } },
      { id: 7, subscribe: { channel: "group:chess" } },
    );
    await raw.reply(7);
    const outcome = (id: number) => raw.replies.find((reply) => reply.id === id);
    expect(outcome(3)?.["subscribe"]).toMatchObject({ recoverable: true, positioned: true });
    expect(outcome(4)?.error?.code).toBe(105);
    expect(outcome(6)?.["unsubscribe"]).toEqual({});
    expect(outcome(7)?.["subscribe"]).toBeDefined();
  });

  test("more channels than a connection may have are refused", async () => {
    const keys = Array.from({ length: 8 }, (_, n) => `group:many-${n}`);
    const raw = await letIn("manu");
    for (const key of keys) await world.room(key, ["manu"]);
    raw.send(...keys.map((channel, n) => ({ id: n + 2, subscribe: { channel } })));
    await raw.reply(9);
    expect(raw.replies.filter(({ error }) => error?.code === 106)).toHaveLength(1);
  });

  test("a room of another tenant is refused like a missing one", async () => {
    const other = await world.otherTenant();
    await other.room("group:elsewhere", ["zoe"]);
    const raw = await letIn();
    raw.send({ id: 2, subscribe: { channel: "group:elsewhere" } });
    expect((await raw.reply(2)).error?.code).toBe(103);
  });

  test("the same room key of two tenants is two rooms", async () => {
    const other = await world.otherTenant();
    const theirs = await other.room("group:twin", ["ada"]);
    const ours = await world.room("group:twin", ["ada"]);
    const here = await connectListener(node, await world.token("ada"));
    const there = await connectListener(node, await other.token("ada"));
    await other.say(theirs, "theirs");
    await world.say(ours, "ours");
    await waitFor(() => here.publications.length === 1 && there.publications.length === 1);
    expect([here.texts("group:twin"), there.texts("group:twin")]).toEqual([["ours"], ["theirs"]]);
  });

  test("publications of one turn of the event loop arrive in one frame", async () => {
    const room = await world.room("group:burst", ["bella"]);
    const raw = await letIn("bella");
    await world.say(room, ...Array.from({ length: 100 }, (_, n) => `m${n}`));
    await waitFor(() => raw.replies.length >= 101);
    expect(raw.frames.length).toBeLessThan(60);
  });
});

describe("closed sockets", () => {
  test("leave no connection, user, topic or subscription behind, even when they close while they connect", async () => {
    const token = await world.token("ada");
    await Promise.all(
      Array.from({ length: 60 }, async (_, n) => {
        const raw = await openRaw();
        raw.send({ id: 1, connect: { token } });
        if (n % 3 === 0) await raw.reply(1);
        if (n % 3 === 1) await new Promise((resolve) => setTimeout(resolve, n / 4));
        raw.end();
      }),
    );
    for (const name of ["connections", "users", "topics", "subscriptions"]) {
      await waitFor(async () => (await node.metric(`omc_realtime_${name}`)) === 0);
    }
  });
});
