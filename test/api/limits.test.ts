import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { nameAddress } from "../../api/rate-limit/rate-limits.ts";
import { createSharedCounters } from "../../api/rate-limit/shared-counters.ts";
import { readConfig } from "../../shared/platform/config.ts";
import { setTenantLimits } from "../../shared/db/tenants/tenants.ts";
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
/** An address that nobody came from yet. */
const newAddress = () => ({ "x-forwarded-for": `203.0.113.${String(++addresses)}` });

const countedAlone = async (): Promise<string> => {
  const { body } = await world.as(null)("GET", "/metrics");
  return /^omc_limits_alone_total .*$/m.exec(String(body))?.[0] ?? "";
};

const WINDOW_MS = 10_000;

/**
 * Tests what a limit does within its window while its counters are shared. A Redis later than 50 ms lets a process count
 * for itself, as it should: where that happened, or the window ended, the same is tried with other tenants and addresses.
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

/** The statuses of some requests, one after the other. */
async function statuses(count: number, ask: () => Promise<Reply>): Promise<number[]> {
  const seen: number[] = [];
  for (let index = 0; index < count; index++) seen.push((await ask()).status);
  return seen;
}

describe("requests", () => {
  testShared("a user who asks too often is told how long to wait, and others are served", async () => {
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

  testShared("a tenant has one over all its users and keys, and leaves other tenants alone", async () => {
    const { tenant, ada, bob } = await limited({ tenantRequests: 3 });
    expect((await ada("GET", ROOMS)).status).toBe(200);
    expect((await bob("GET", ROOMS)).status).toBe(200);
    expect((await tenant.server("GET", "/v1/users/ada")).status).toBe(200);
    expect((await bob("GET", ROOMS)).status).toBe(429);
    const other = await limited({});
    expect((await other.ada("GET", ROOMS)).status).toBe(200);
  });

  testShared("the count is shared by all processes", async () => {
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

describe("strangers", () => {
  testShared(
    "an address that keeps showing bad credentials is refused, and a good one behind it is served",
    async () => {
      const { ada } = await limited({});
      const headers = newAddress();
      const knock = () => world.as("omc_server_nobody")("GET", ROOMS, { headers });
      const seen: number[] = [];
      while (!seen.includes(429) && seen.length < 1_000) {
        const knocks = Array.from({ length: 20 }, async () => (await knock()).status);
        seen.push(...(await Promise.all(knocks)));
      }
      expect(seen.filter((status) => status === 401)).toHaveLength(300);
      expect(seen.length).toBeLessThanOrEqual(320);
      expect((await knock()).headers.get("retry-after")).toMatch(/^\d+$/);
      expect((await ada("GET", ROOMS, { headers })).status).toBe(200);
      expect((await world.as(null)("GET", ROOMS, { headers: newAddress() })).status).toBe(401);
    },
  );

  test("no address stands in Redis", async () => {
    expect((await world.redis.keys("*203.0.113*")).length).toBe(0);
    expect((await world.redis.keys("omc:*:limit:stranger")).length).toBeGreaterThan(0);
  });

  test("a network of IPv6 is one address, and IPv4 is the same in either notation", () => {
    expect(nameAddress("2001:db8::1")).toBe(nameAddress("2001:db8:0:0:ffff::9"));
    expect(nameAddress("2001:db8::1")).not.toBe(nameAddress("2001:db8:0:1::1"));
    expect(nameAddress("::ffff:10.0.0.1")).toBe(nameAddress("10.0.0.1"));
    expect(nameAddress("10.0.0.1")).not.toBe(nameAddress("10.0.0.2"));
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
    expect(Number(refused.headers.get("retry-after"))).toBeGreaterThan(0);
    expect(refused.body).toContain("Too many requests");
    expect((await login("key=nope", newAddress())).status).toBe(401);
  });

  testShared("a key has ten tries a minute, from wherever", async () => {
    const { tenant } = await limited({});
    const { key } = await tenant.key("operator");
    const guess = key.replace(/.{6}$/, "aaaaaa");
    const seen = await statuses(11, () => login(`key=${guess}`, newAddress()));
    expect(seen).toEqual([...Array<number>(10).fill(401), 429]);
    expect((await login(`key=${key}`, newAddress())).status).toBe(429);
  });
});

describe("other sites", () => {
  test("what a page of another site sends with an operator's cookie is refused", async () => {
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
    expect(await act({ origin: own })).toBe(200);
    expect(await act({ origin: own, "sec-fetch-site": "same-origin" })).toBe(200);
    const foreign = await world.as(null)("POST", "/admin/login", {
      raw: `key=${key}`,
      headers: { ...FORM, origin: "https://evil.example" },
    });
    expect([foreign.status, foreign.headers.get("set-cookie")]).toEqual([403, null]);
  });

  test("pages may act for a tenant whose list, or else the configuration's, names their origin", async () => {
    const { ada, bob } = await limited({});
    const own = await limited({ allowedOrigins: ["https://own.example"] });
    const from = async (ask: Ask, origin: string) =>
      (await ask("GET", ROOMS, { headers: { origin } })).status;
    expect(await from(ada, "https://app.example")).toBe(200);
    expect(await from(bob, "https://own.example")).toBe(403);
    expect(await from(own.ada, "https://own.example")).toBe(200);
    expect(await from(own.ada, "https://app.example")).toBe(403);
    expect(await from(ada, new URL(world.url).origin)).toBe(200);
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

  test("browsers are told to stay on https, behind https only", async () => {
    const nobody = world.as(null);
    const header = async (headers: Record<string, string>) =>
      (await nobody("GET", "/livez", { headers })).headers.get("strict-transport-security");
    expect(await header({})).toBeNull();
    expect(await header({ "x-forwarded-proto": "https" })).toBe("max-age=31536000");
  });
});

describe("an API without trusted proxies", () => {
  test("believes nobody's word about addresses and protocols", async () => {
    const plain = await openApiWorld();
    const headers = { "x-forwarded-for": "203.0.113.50", "x-forwarded-proto": "https" };
    await plain.redis.flushdb();
    let names: string[] = [];
    await until(async () => {
      const reply = await plain.as(null)("GET", ROOMS, { headers });
      expect(reply.headers.get("strict-transport-security")).toBeNull();
      names = await plain.redis.keys("omc:*:limit:stranger");
      return names.length > 0;
    }, "the stranger is counted in Redis");
    expect(names.join(" ")).toContain(nameAddress("127.0.0.1"));
    expect(names.join(" ")).not.toContain(nameAddress("203.0.113.50"));
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

  /** What needs neither a timer nor an answer from outside. @throws when it does. */
  const atOnce = <T>(work: Promise<T>): Promise<T> =>
    Promise.race([
      work,
      new Promise<never>((_resolve, reject) => {
        setImmediate(() => {
          reject(new Error("had to wait"));
        });
      }),
    ]);

  test("goes on in the process when Redis is away, without waiting", async () => {
    const redis = await open("redis://127.0.0.1:1");
    let alone = 0;
    const countAll = createSharedCounters(redis, Date.now, () => alone++);
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
    const countAll = createSharedCounters(redis, Date.now, () => undefined);
    await countAll([{ ...bound, key: "warm" }]);
    await world.redis.call("CLIENT", "PAUSE", "600", "ALL");
    const first = countAll([{ ...bound, key: "slow" }]);
    await expect(atOnce(first)).rejects.toThrow("had to wait");
    // Redis answers nobody before the pause ends.
    expect(await Promise.race([first, world.redis.ping()])).toEqual([0]);
    expect(await atOnce(countAll([{ ...bound, key: "slow" }]))).toEqual([0]);
    expect((await atOnce(countAll([{ ...bound, key: "slow" }])))[0]).toBeGreaterThan(0);
    await world.redis.ping();
    redis.disconnect();
  });

  test("keeps nobody waiting for a slow Redis who is far from the bound, and counts all the same", async () => {
    const redis = await open(world.config.redisUrl);
    const countAll = createSharedCounters(redis, Date.now, () => undefined);
    const wide = { key: "wide", most: 10, windowS: 30 };
    await countAll([wide]);
    await world.redis.call("CLIENT", "PAUSE", "300", "ALL");
    // One is counted, four may be on their way: the next would be the sixth of ten.
    for (let index = 0; index < 4; index++) expect(await atOnce(countAll([wide]))).toEqual([0]);
    await world.redis.ping();
    // Counted together soon after, and not twice.
    const countsOf = async () => Number(await world.redis.get("wide"));
    await until(async () => (await countsOf()) === 5, "all are counted");
    await new Promise((resolve) => setTimeout(resolve, 120));
    expect(await countsOf()).toBe(5);
    redis.disconnect();
  });

  test("lets nobody over a bound, however many ask at once", async () => {
    const redis = await open(world.config.redisUrl);
    const countAll = createSharedCounters(redis, Date.now, () => undefined);
    const bound = { key: "crowd", most: 20, windowS: 30 };
    await countAll([bound]);
    const waits = await Promise.all(Array.from({ length: 40 }, () => countAll([bound])));
    expect(waits.filter(([waitMs]) => waitMs === 0)).toHaveLength(19);
    redis.disconnect();
  });
});
