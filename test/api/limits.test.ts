import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { setImmediate as nextTurn } from "node:timers/promises";
import { createIdentifyCaller } from "../../api/rate-limit/identify-caller.ts";
import { createRateLimits, type RateLimits } from "../../api/rate-limit/rate-limits.ts";
import { createSharedCounters } from "../../api/rate-limit/shared-counters.ts";
import { createApiMetrics } from "../../api/metrics.ts";
import type { Caller } from "../../api/auth/authenticate.ts";
import { AppError } from "../../shared/contract/errors.ts";
import { nameNetwork } from "../../shared/auth/client-address.ts";
import { createMetrics } from "../../shared/platform/metrics.ts";
import { readConfig } from "../../shared/platform/config.ts";
import { setTenantLimits, tenantLimits } from "../../shared/db/tenants/tenants.ts";
import { limitKey } from "../../shared/platform/redis-keys.ts";
import { createLog } from "../../shared/platform/log.ts";
import { openRedis, waitForRedis, type Redis } from "../../shared/platform/redis.ts";
import { openApiWorld, type ApiWorld, type Ask, type Reply, type TestTenant } from "../support/api.ts";
import { until } from "../support/wait.ts";

const ROOMS = "/v1/me/rooms";
const FORM = { "content-type": "application/x-www-form-urlencoded" };
const log = createLog({ level: "silent", tier: "test" });

let world: ApiWorld;
beforeAll(async () => {
  world = await openApiWorld({
    env: { TRUSTED_PROXIES: "loopback", ALLOWED_ORIGINS: "https://app.example" },
  });
});
afterAll(() => world.close());

let tenants = 0;
/** A tenant with limits of its own, and a person in it. */
async function limited(limits: Record<string, unknown>): Promise<{ tenant: TestTenant; ada: Ask; bob: Ask }> {
  const tenant = await world.tenant(`limits-${String(++tenants)}`);
  await setTenantLimits(world.db, tenant.row.slug, limits);
  for (const user of ["ada", "bob"]) {
    await world.db("users").insert({
      id: `00000000-0000-4000-8000-${String(tenants * 10 + (user === "ada" ? 1 : 2)).padStart(12, "0")}`,
      tenant_id: tenant.row.id,
      external_id: user,
      matrix_user_id: `@omc_${tenant.row.slug}-${user}:hs.test`,
    });
  }
  return { tenant, ada: await tenant.user("ada"), bob: await tenant.user("bob") };
}

let addresses = 0;
/** An address that no request came from yet. */
const newAddress = () => ({ "x-forwarded-for": `203.0.113.${String(++addresses)}` });

const countedAlone = async (): Promise<string> => {
  const { body } = await world.as(null)("GET", "/metrics");
  return /^omc_limits_alone_total .*$/m.exec(String(body))?.[0] ?? "";
};

const WINDOW_MS = 10_000;

/**
 * Tests a limit within its window while its counters are shared. A process counts alone when Redis takes more than 50 ms.
 * If that happened, or the window ended, the test is repeated with other tenants and addresses.
 */
function testShared(title: string, body: () => Promise<void>): void {
  test(title, async () => {
    for (let attempt = 1; ; attempt++) {
      const before = await countedAlone();
      const startMs = performance.now();
      try {
        await body();
        return;
      } catch (error) {
        const isCalm = performance.now() - startMs < WINDOW_MS && (await countedAlone()) === before;
        if (isCalm || attempt === 5) throw error;
      }
    }
  });
}

/** Uses up what an address may send without a valid credential. Returns the statuses. */
async function exceed(headers: Record<string, string>): Promise<number[]> {
  const seen: number[] = [];
  while (!seen.includes(429) && seen.length < 1_000) {
    const batch = Array.from(
      { length: 20 },
      async () => (await world.as("omc_server_nobody")("GET", ROOMS, { headers })).status,
    );
    seen.push(...(await Promise.all(batch)));
  }
  return seen;
}

/** The statuses of some requests, one after the other. */
async function statuses(count: number, ask: () => Promise<Reply>): Promise<number[]> {
  const seen: number[] = [];
  for (let index = 0; index < count; index++) seen.push((await ask()).status);
  return seen;
}

describe("requests", () => {
  testShared("a user over the limit is refused with the time to wait, and others are served", async () => {
    const { ada, bob } = await limited({ userRequests: 3 });
    expect(await statuses(3, () => ada("GET", ROOMS))).toEqual([200, 200, 200]);
    const refused = await ada("GET", ROOMS);
    expect(refused).toMatchObject({ status: 429, body: { code: "rate_limited", status: 429 } });
    const waitS = Number(refused.headers.get("retry-after"));
    expect(waitS).toBeGreaterThanOrEqual(1);
    expect(waitS).toBeLessThanOrEqual(10);
    expect((await bob("GET", ROOMS)).status).toBe(200);
  });

  testShared("an API key has a limit of its own", async () => {
    const { tenant } = await limited({ keyRequests: 2 });
    const ask = () => tenant.server("GET", "/v1/users/ada");
    expect(await statuses(3, ask)).toEqual([200, 200, 429]);
    const other = world.as((await tenant.key("server")).key);
    expect((await other("GET", "/v1/users/ada")).status).toBe(200);
  });

  testShared(
    "a tenant has a limit over all its users and keys, which does not affect other tenants",
    async () => {
      const { tenant, ada, bob } = await limited({ tenantRequests: 3 });
      expect((await ada("GET", ROOMS)).status).toBe(200);
      expect((await bob("GET", ROOMS)).status).toBe(200);
      expect((await tenant.server("GET", "/v1/users/ada")).status).toBe(200);
      expect((await bob("GET", ROOMS)).status).toBe(429);
      const other = await limited({});
      expect((await other.ada("GET", ROOMS)).status).toBe(200);
    },
  );

  testShared("all processes share one count", async () => {
    const { tenant, ada } = await limited({ userRequests: 4 });
    const second = await openApiWorldBeside();
    const there = second.as(await tenant.token("ada"));
    expect(await statuses(2, () => ada("GET", ROOMS))).toEqual([200, 200]);
    const isCounted = async () => (await world.redis.get(limitKey(tenant.row.id, "user:ada"))) === "2";
    await until(isCounted, "both are counted");
    expect(await statuses(3, () => there("GET", ROOMS))).toEqual([200, 200, 429]);
    expect((await ada("GET", ROOMS)).status).toBe(429);
    await second.close();
  });
});

/** A second API on the same database and Redis. */
async function openApiWorldBeside(): Promise<{ as: ApiWorld["as"]; close: () => Promise<void> }> {
  const { openApi } = await import("../../api/server.ts");
  const { Resources } = await import("../../shared/platform/shutdown.ts");
  const resources = new Resources();
  const server = await openApi(world.config, log, resources);
  const address = server.address();
  const port = typeof address === "object" && address ? address.port : 0;
  const as = (credential: string | null): Ask => {
    return async (method, path) => {
      const response = await fetch(`http://127.0.0.1:${String(port)}${path}`, {
        method,
        headers: { authorization: `Bearer ${credential ?? ""}`, connection: "close" },
      });
      return { status: response.status, headers: response.headers, body: await response.json() };
    };
  };
  return { as, close: () => resources.closeAll(log) };
}

describe("unauthenticated requests", () => {
  testShared(
    "an address with too many invalid credentials is refused, and one that was valid within a minute is served from it",
    async () => {
      const { tenant, ada, bob } = await limited({});
      const headers = newAddress();
      expect((await ada("GET", ROOMS)).status).toBe(200);
      const seen = await exceed(headers);
      expect(seen.filter((status) => status === 401)).toHaveLength(300);
      const refused = await world.as("omc_server_nobody")("GET", ROOMS, { headers });
      expect([refused.status, refused.headers.get("retry-after")]).toEqual([
        429,
        expect.stringMatching(/^\d+$/),
      ]);
      expect((await ada("GET", ROOMS, { headers })).status).toBe(200);
      // Valid, and new to this process: it is treated like one that is not valid.
      expect((await bob("GET", ROOMS, { headers })).status).toBe(429);
      expect((await bob("GET", ROOMS, { headers: newAddress() })).status).toBe(200);
      expect((await bob("GET", ROOMS, { headers })).status).toBe(200);
      expect((await world.as(null)("GET", ROOMS, { headers: newAddress() })).status).toBe(401);
      expect((await tenant.server("GET", "/v1/users/ada", { headers: newAddress() })).status).toBe(200);
    },
  );

  testShared("an address over its limit reaches no table, whatever it shows", async () => {
    const { tenant } = await limited({});
    const headers = newAddress();
    // As if another process had counted the first 300.
    await world.redis.set(limitKey(nameNetwork(headers["x-forwarded-for"]), "stranger"), 300, "PX", 60_000);
    expect((await world.as("omc_server_nobody")("GET", ROOMS, { headers })).status).toBe(429);
    const key = (role: string, secret: string) => `omc_${role}_${"a".repeat(16)}_${secret.repeat(40)}`;
    const token = await tenant.token("ada");
    const [head = "", , signature = ""] = token.split(".");
    const claims = { iss: "no-such-tenant", sub: "ada", iat: 1, exp: 2 };
    const unknownTenant = [head, Buffer.from(JSON.stringify(claims)).toString("base64url"), signature].join(
      ".",
    );
    const bearer = (credential: string) => () => world.as(credential)("GET", ROOMS, { headers });
    const asks: [string, () => Promise<Reply>][] = [
      ["an unknown key", bearer(key("server", "b"))],
      ["a key of a call that it is not for", bearer(key("viewer", "c"))],
      ["a token of an unknown tenant", bearer(unknownTenant)],
      ["a token that is new to this process", bearer(token)],
      ["a key that is new to this process", bearer((await tenant.key("server")).key)],
      ["no credential", () => world.as(null)("GET", ROOMS, { headers })],
      [
        "an unknown key for the operators' pages",
        () => world.as(key("operator", "d"))("GET", "/admin/queues", { headers }),
      ],
      [
        "a session for the operators' pages",
        () =>
          world.as(null)("GET", "/admin/queues", { headers: { ...headers, cookie: "omc_session=a.1.b" } }),
      ],
      [
        "a login",
        () =>
          world.as(null)("POST", "/admin/login", {
            raw: `key=${key("operator", "e")}`,
            headers: { ...headers, ...FORM },
          }),
      ],
    ];
    const lock = await world.db.transaction();
    try {
      // A query would wait for the end of this transaction.
      await lock.raw("lock table api_keys, tenants, users in access exclusive mode");
      for (const [title, ask] of asks) expect([title, (await ask()).status]).toEqual([title, 429]);
    } finally {
      await lock.rollback();
    }
  });

  test("unknown credentials that come at once are checked as seldom as one after the other", async () => {
    const redis = openRedis(world.config.redisUrl, log, "at-once");
    await waitForRedis(redis, 500);
    let countedAloneTimes = 0;
    const counters = createSharedCounters(redis, Date.now, () => countedAloneTimes++);
    const limits = createRateLimits(counters, createApiMetrics(createMetrics()).rateLimited);
    const identify = createIdentifyCaller(limits, Date.now);
    let checks = 0;
    const check = async () => {
      checks++;
      // Takes a turn, as Postgres's answer does. A command of Redis could fail here: on a busy machine it is late.
      await nextTurn();
      throw new AppError("unauthorized", "The key is not valid.");
    };
    const askAtOnce = (address: string) =>
      Promise.all(
        Array.from({ length: 2_000 }, (_, index) =>
          identify({ address, credential: `key ${String(index)}` }, check).catch((error: unknown) =>
            error instanceof AppError ? error.code : "other",
          ),
        ),
      );
    let codes: unknown[] = [];
    // As in `testShared`.
    for (let attempt = 1; attempt <= 5; attempt++) {
      const startMs = performance.now();
      [checks, countedAloneTimes] = [0, 0];
      codes = await askAtOnce(`198.51.100.${String(attempt)}`);
      if (countedAloneTimes === 0 && performance.now() - startMs < WINDOW_MS) break;
    }
    redis.disconnect();
    expect(new Set(codes)).toEqual(new Set(["unauthorized", "rate_limited"]));
    expect(codes.filter((code) => code === "unauthorized").length).toBeLessThanOrEqual(300);
    // Those that ran when the limit was reached end too.
    expect(checks).toBeLessThanOrEqual(308);
  });

  test("a credential is known for a minute after its last valid check, and no longer when a check fails", async () => {
    let nowMs = 1_000_000;
    let isOver = false;
    const served: Caller = {
      ...{ kind: "server", tenantId: "t", tenantSlug: "t", keyId: "k" },
      limits: tenantLimits.parse({}),
    };
    const limits: RateLimits = {
      countRequest: () => Promise.resolve(),
      countUnauthenticated: () => Promise.resolve(),
      requireUnauthenticated: () => {
        if (isOver) throw new AppError("rate_limited", "Too many.");
      },
      countLogin: () => Promise.resolve(),
    };
    const identify = createIdentifyCaller(limits, () => nowMs);
    const ask = (check: () => Promise<Caller>, credential = "one") =>
      identify({ address: "198.51.100.99", credential }, check).then(
        () => "served",
        (error: unknown) => (error instanceof AppError ? error.code : "other"),
      );
    const valid = () => Promise.resolve(served);
    const revoked = () => Promise.reject(new AppError("unauthorized", "Not valid."));
    expect(await ask(valid)).toBe("served");
    isOver = true;
    expect([await ask(valid), await ask(valid, "two")]).toEqual(["served", "rate_limited"]);
    nowMs += 59_000;
    expect(await ask(valid)).toBe("served");
    nowMs += 60_001;
    expect(await ask(valid)).toBe("rate_limited");
    isOver = false;
    expect([await ask(valid), await ask(revoked)]).toEqual(["served", "unauthorized"]);
    isOver = true;
    expect(await ask(valid)).toBe("rate_limited");
  });

  testShared("an address with another port, or in another notation, is the same address", async () => {
    const network = newAddress()["x-forwarded-for"];
    const hex = network.split(".").map((byte) => Number(byte).toString(16).padStart(2, "0"));
    const notations = [4_711, 4_712].flatMap((port) => [
      `${network}:${String(port)}`,
      `"${network}:${String(port)}"`,
      `[::ffff:${network}]:${String(port)}`,
      `::ffff:${hex.slice(0, 2).join("")}:${hex.slice(2).join("")}%zone${String(port)}`,
      `198.51.100.${String(port % 250)}, ${network}`,
    ]);
    for (const notation of notations) {
      const headers = { "x-forwarded-for": notation };
      expect((await world.as("nonsense")("GET", ROOMS, { headers })).status).toBe(401);
    }
    const counted = () => world.redis.get(limitKey(nameNetwork(network), "stranger"));
    await until(async () => (await counted()) === String(notations.length), "all are counted as one address");
  });

  test("the keys in Redis contain no address", async () => {
    expect((await world.redis.keys("*203.0.113*")).length).toBe(0);
    expect((await world.redis.keys("omc:*:limit:stranger")).length).toBeGreaterThan(0);
  });
});

describe("logging in", () => {
  const login = (body: string, headers: Record<string, string>) =>
    world.as(null)("POST", "/admin/login", { raw: body, headers: { ...FORM, ...headers } });

  testShared("an address has twenty tries a minute", async () => {
    const headers = newAddress();
    expect(await statuses(20, () => login("key=nope", headers))).toEqual(Array(20).fill(401));
    const refused = await login("key=nope", headers);
    expect(refused.status).toBe(429);
    for (const port of ["4711", "4712"]) {
      const rotated = { "x-forwarded-for": `${headers["x-forwarded-for"]}:${port}` };
      expect((await login("key=nope", rotated)).status).toBe(429);
    }
    expect(Number(refused.headers.get("retry-after"))).toBeGreaterThan(0);
    expect(refused.body).toContain("Too many requests");
    expect((await login("key=nope", newAddress())).status).toBe(401);
  });

  testShared("a key has ten tries a minute, from all addresses together", async () => {
    const { tenant } = await limited({});
    const { key } = await tenant.key("operator");
    const guess = key.replace(/.{6}$/, "aaaaaa");
    const seen = await statuses(11, () => login(`key=${guess}`, newAddress()));
    expect(seen).toEqual([...Array<number>(10).fill(401), 429]);
    expect((await login(`key=${key}`, newAddress())).status).toBe(429);
  });
});

describe("other sites", () => {
  test("a request from a page of another site with an operator's cookie is refused", async () => {
    const { tenant } = await limited({});
    const { key } = await tenant.key("operator");
    const own = new URL(world.url).origin;
    const login = await world.as(null)("POST", "/admin/login", {
      raw: `key=${key}`,
      headers: { ...FORM, origin: own },
    });
    expect(login.status).toBe(303);
    const cookie = login.headers.get("set-cookie")?.split(";")[0] ?? "";
    const act = async (headers: Record<string, string>) =>
      (
        await world.as(null)("PUT", "/admin/queues/api/queues/maintenance/resume", {
          headers: { cookie, ...headers },
        })
      ).status;
    expect(await act({ origin: "https://evil.example" })).toBe(403);
    expect(await act({ origin: own, "sec-fetch-site": "cross-site" })).toBe(403);
    expect(await act({ "sec-fetch-site": "same-site" })).toBe(403);
    expect(await act({ origin: "null" })).toBe(403);
    expect(await act({ origin: own.replace("http:", "https:") })).toBe(403);
    expect(await act({ origin: "http://127.0.0.1:1" })).toBe(403);
    expect(await act({ origin: own, "x-forwarded-proto": "https" })).toBe(403);
    expect(await act({ origin: own.replace("http:", "https:"), "x-forwarded-proto": "https" })).toBe(200);
    expect(await act({ origin: own })).toBe(200);
    expect(await act({ origin: own, "sec-fetch-site": "same-origin" })).toBe(200);
    const foreign = await world.as(null)("POST", "/admin/login", {
      raw: `key=${key}`,
      headers: { ...FORM, origin: "https://evil.example" },
    });
    expect([foreign.status, foreign.headers.get("set-cookie")]).toEqual([403, null]);
  });

  test("a page may act for a tenant if the tenant's list, or else the configuration's, has its origin", async () => {
    const { ada, bob } = await limited({});
    const own = await limited({ allowedOrigins: ["https://own.example"] });
    const from = async (ask: Ask, origin: string) =>
      (await ask("GET", ROOMS, { headers: { origin } })).status;
    expect(await from(ada, "https://app.example")).toBe(200);
    expect(await from(bob, "https://own.example")).toBe(403);
    expect(await from(own.ada, "https://own.example")).toBe(200);
    expect(await from(own.ada, "https://app.example")).toBe(403);
    expect(await from(ada, new URL(world.url).origin)).toBe(200);
    expect(await from(ada, new URL(world.url).origin.replace("http:", "https:"))).toBe(403);
    const preflight = (origin: string) =>
      world.as(null)("OPTIONS", ROOMS, { headers: { origin, "access-control-request-method": "GET" } });
    await until(
      async () =>
        (await preflight("https://own.example")).headers.get("access-control-allow-origin") !== null,
      "the tenant's origin is known",
      8_000,
    );
    const strange = await preflight("https://evil.example");
    expect(strange.headers.get("access-control-allow-origin")).toBeNull();
    expect(strange.headers.get("access-control-allow-credentials")).toBeNull();
  });

  test("an answer over https, and no other, makes browsers stay on https", async () => {
    const anonymous = world.as(null);
    const header = async (headers: Record<string, string>) =>
      (await anonymous("GET", "/livez", { headers })).headers.get("strict-transport-security");
    expect(await header({})).toBeNull();
    expect(await header({ "x-forwarded-proto": "https" })).toBe("max-age=31536000");
  });
});

describe("an API without trusted proxies", () => {
  test("ignores forwarded addresses and protocols", async () => {
    const plain = await openApiWorld();
    const headers = { "x-forwarded-for": "203.0.113.50", "x-forwarded-proto": "https" };
    await plain.redis.flushdb();
    let names: string[] = [];
    await until(async () => {
      const reply = await plain.as(null)("GET", ROOMS, { headers });
      expect(reply.headers.get("strict-transport-security")).toBeNull();
      names = await plain.redis.keys("omc:*:limit:stranger");
      return names.length > 0;
    }, "the request is counted in Redis");
    expect(names.join(" ")).toContain(nameNetwork("127.0.0.1"));
    expect(names.join(" ")).not.toContain(nameNetwork("203.0.113.50"));
    await plain.close();
  });

  test.each(["10.0.0.0/33", "example.org", "1.2.3.4/", "fe80::/129"])(
    "does not start with %s as a proxy",
    (proxy) => {
      const { databaseUrl, redisUrl } = world.config;
      const env = {
        DATABASE_URL: databaseUrl,
        REDIS_URL: redisUrl,
        SYNAPSE_URL: "http://127.0.0.1:9",
        SYNAPSE_SERVER_NAME: "hs.test",
        SYNAPSE_AS_TOKEN: "a token of the tests",
        SEAL_KEYS: `t:${Buffer.alloc(32, 7).toString("base64")}`,
      };
      expect(() => readConfig({ ...env, TRUSTED_PROXIES: proxy })).toThrow(/TRUSTED_PROXIES/);
      expect(readConfig({ ...env, TRUSTED_PROXIES: "loopback, 10.0.0.0/8,::1" }).trustedProxies).toHaveLength(
        3,
      );
    },
  );
});

describe("counting", () => {
  const bound = { most: 2, windowS: 10 };
  const open = async (url: string): Promise<Redis> => {
    const redis = openRedis(url, log, "limiter");
    await waitForRedis(redis, 500);
    return redis;
  };

  /** The result of work that waits for neither a timer nor the network. @throws if it does. */
  const atOnce = <T>(work: Promise<T>): Promise<T> =>
    Promise.race([
      work,
      new Promise<never>((_resolve, reject) => {
        setImmediate(() => {
          reject(new Error("had to wait"));
        });
      }),
    ]);

  test("continues in the process while Redis is away, without waiting", async () => {
    const redis = await open("redis://127.0.0.1:1");
    let alone = 0;
    const { countAll } = createSharedCounters(redis, Date.now, () => alone++);
    const waits = [];
    for (let index = 0; index < 3; index++)
      waits.push(...(await atOnce(countAll([{ ...bound, key: "away" }]))));
    expect(waits.slice(0, 2)).toEqual([0, 0]);
    expect(waits[2]).toBeGreaterThan(0);
    expect(alone).toBe(3);
    redis.disconnect();
  });

  test("waits 50 ms for a slow Redis, once a second", async () => {
    const redis = await open(world.config.redisUrl);
    const { countAll } = createSharedCounters(redis, Date.now, () => undefined);
    await countAll([{ ...bound, key: "warm" }]);
    await world.redis.call("CLIENT", "PAUSE", "600", "ALL");
    const first = countAll([{ ...bound, key: "slow" }]);
    await expect(atOnce(first)).rejects.toThrow("had to wait");
    // Redis sends no answer before the pause ends.
    expect(await Promise.race([first, world.redis.ping()])).toEqual([0]);
    expect(await atOnce(countAll([{ ...bound, key: "slow" }]))).toEqual([0]);
    expect((await atOnce(countAll([{ ...bound, key: "slow" }])))[0]).toBeGreaterThan(0);
    await world.redis.ping();
    redis.disconnect();
  });

  test("does not make a caller far from the bound wait for a slow Redis, and still counts the request", async () => {
    const redis = await open(world.config.redisUrl);
    const { countAll } = createSharedCounters(redis, Date.now, () => undefined);
    const wide = { key: "wide", most: 10, windowS: 30 };
    await countAll([wide]);
    await world.redis.call("CLIENT", "PAUSE", "300", "ALL");
    // One is counted and four are deferred: the next would be the sixth of ten.
    for (let index = 0; index < 4; index++) expect(await atOnce(countAll([wide]))).toEqual([0]);
    await world.redis.ping();
    // They are counted together soon after, once.
    const countsOf = async () => Number(await world.redis.get("wide"));
    await until(async () => (await countsOf()) === 5, "all are counted");
    await new Promise((resolve) => setTimeout(resolve, 120));
    expect(await countsOf()).toBe(5);
    redis.disconnect();
  });

  test("lets no request beyond a bound when many come at once", async () => {
    const redis = await open(world.config.redisUrl);
    const { countAll } = createSharedCounters(redis, Date.now, () => undefined);
    const bound = { key: "many", most: 20, windowS: 30 };
    await countAll([bound]);
    const waits = await Promise.all(Array.from({ length: 40 }, () => countAll([bound])));
    expect(waits.filter(([waitMs]) => waitMs === 0)).toHaveLength(19);
    redis.disconnect();
  });
});

describe("what is not made on Matrix yet", () => {
  const direct = { users: ["new-1", "new-2"] };
  const people = (...users: string[]) => ({ members: users.map((user) => ({ user })) });
  const FULL: [string, string, string, unknown, Record<string, number>][] = [
    ["PUT of a user", "PUT", "/v1/users/new-1", {}, { pendingUsers: 2 }],
    ["PUT of an unknown member", "PUT", "/v1/rooms/group/old/members/new-1", {}, { pendingUsers: 2 }],
    [
      "POST of members",
      "POST",
      "/v1/rooms/group/old/members",
      people("ada", "new-1", "new-2"),
      { pendingUsers: 3 },
    ],
    ["PUT of a room", "PUT", "/v1/rooms/group/new", { name: "New" }, { pendingRooms: 1 }],
    [
      "PUT of a room with people",
      "PUT",
      "/v1/rooms/group/new",
      { name: "New", ...people("new-1") },
      { pendingUsers: 2 },
    ],
    ["PUT of a room with its address", "PUT", "/v1/rooms/direct/new-1~new-2", {}, { pendingUsers: 3 }],
    ["PUT of a direct room", "PUT", "/v1/rooms/direct", direct, { pendingRooms: 1 }],
    ["PUT of a direct room of unknown people", "PUT", "/v1/rooms/direct", direct, { pendingUsers: 3 }],
  ];

  test.each(FULL)(
    "%s over the tenant's limit is refused as a whole",
    async (_, method, path, body, limits) => {
      const { tenant } = await limited({});
      expect((await tenant.server("PUT", "/v1/rooms/group/old", { body: { name: "Old" } })).status).toBe(202);
      const countAll = async () => {
        const { rows } = await world.db.raw<{ rows: unknown[] }>(
          `select (select count(*) from users where tenant_id = :id) as users, (select count(*) from rooms where tenant_id = :id) as rooms,
                (select count(*) from memberships s join rooms r on r.id = s.room_id where r.tenant_id = :id) as members`,
          { id: tenant.row.id },
        );
        return rows;
      };
      const before = await countAll();
      await setTenantLimits(world.db, tenant.row.slug, limits);
      const reply = await tenant.server(method, path, { body });
      expect(reply).toMatchObject({ status: 503, body: { code: "unavailable" } });
      expect(reply.headers.get("retry-after")).toBe("5");
      expect(await countAll()).toEqual(before);

      // What makes nothing new is served all the same.
      for (const [verb, known, fields] of [
        ["PUT", "/v1/users/ada", { displayName: "Ada" }],
        ["PUT", "/v1/rooms/group/old/members/ada", { role: "speaker" }],
        ["PUT", "/v1/rooms/group/old", { name: "Older", ...people("bob") }],
      ] as const)
        expect((await tenant.server(verb, known, { body: fields })).status).toBe(202);

      // Matrix has caught up.
      await world.db.raw("update users set status = 'ready' where tenant_id = ?", [tenant.row.id]);
      await world.db.raw("update rooms set status = 'ready' where tenant_id = ?", [tenant.row.id]);
      expect((await tenant.server(method, path, { body })).status).toBe(202);
    },
  );

  test("one tenant's limit is no other's", async () => {
    const [full, other] = [await limited({ pendingRooms: 1 }), await limited({})];
    const make = (tenant: TestTenant, slug: string) =>
      tenant.server("PUT", `/v1/rooms/group/${slug}`, { body: { name: slug } });
    expect((await make(full.tenant, "one")).status).toBe(202);
    expect((await make(full.tenant, "two")).status).toBe(503);
    expect((await make(other.tenant, "one")).status).toBe(202);
    expect((await make(other.tenant, "two")).status).toBe(202);
  });
});
