import { openApi } from "../../api/server.ts";
import { readConfig, type Config } from "../../shared/platform/config.ts";
import { createApiKey, type ApiKeyRole } from "../../shared/db/tenants/api-keys.ts";
import { ensureHomeserver } from "../../shared/db/homeservers/homeservers.ts";
import type { Db } from "../../shared/db/connection/open.ts";
import { createTenant, openTokenKeys, type Tenant } from "../../shared/db/tenants/tenants.ts";
import { createLog } from "../../shared/platform/log.ts";
import { openRedis, waitForRedis, type Redis } from "../../shared/platform/redis.ts";
import { Resources } from "../../shared/platform/shutdown.ts";
import { signUserToken } from "../../shared/auth/tokens.ts";
import { openTestDatabase, requireEnv, withPath } from "./db.ts";
import { until } from "./wait.ts";

export type Reply = { status: number; headers: Headers; body: unknown };
export type Ask = (
  method: string,
  path: string,
  options?: { body?: unknown; raw?: string | Buffer; headers?: Record<string, string> },
) => Promise<Reply>;

/** An API with its own database and Redis database. */
export type ApiWorld = {
  url: string;
  db: Db;
  redis: Redis;
  config: Config;
  /** A tenant with its server key. */
  tenant: (slug: string) => Promise<TestTenant>;
  /** Calls with a credential, or without one. */
  as: (credential: string | null) => Ask;
  close: () => Promise<void>;
};

export type TestTenant = {
  row: Tenant;
  /** Calls as the product's backend. */
  server: Ask;
  key: (role: ApiKeyRole) => Promise<{ id: string; key: string }>;
  token: (user: string, options?: { nowMs?: number; lifetimeS?: number }) => Promise<string>;
  /** Calls as a person. */
  user: (name: string) => Promise<Ask>;
};

const log = createLog({ level: "silent", tier: "test" });

/** `redisUrl`: another Redis than that of the tests. `env`: further environment variables. */
export async function openApiWorld(
  options: { redisUrl?: string; env?: Record<string, string> } = {},
): Promise<ApiWorld> {
  const socketsBefore = countSockets();
  const database = await openTestDatabase();
  const redisUrl = withPath(
    requireEnv("TEST_REDIS_URL"),
    String(11 + Number(process.env["JEST_WORKER_ID"] ?? 1)),
  );
  const redis = openRedis(redisUrl, log, "test");
  await waitForRedis(redis, 5_000);
  await redis.flushdb();
  const config = readConfig({
    DATABASE_URL: database.url,
    REDIS_URL: options.redisUrl ?? redisUrl,
    SYNAPSE_URL: "http://127.0.0.1:9",
    SYNAPSE_SERVER_NAME: "hs.test",
    SYNAPSE_AS_TOKEN: "a token of the tests",
    SEAL_KEYS: `t:${Buffer.alloc(32, 7).toString("base64")}`,
    API_PORT: "0",
    LOG_LEVEL: "silent",
    ...options.env,
  });
  const held = new Resources();
  const server = await openApi(config, log, held);
  const address = server.address();
  const url = `http://127.0.0.1:${typeof address === "object" && address ? address.port : 0}`;
  const as = (credential: string | null): Ask => createAsk(url, credential);
  return {
    url,
    db: database.db,
    redis,
    config,
    as,
    tenant: (slug) => openTenant(database.db, config, slug, as),
    async close() {
      server.closeIdleConnections();
      await held.closeAll(log);
      redis.disconnect();
      await database.close();
      await until(() => countSockets() <= socketsBefore, "every socket was closed");
    },
  };
}

async function openTenant(db: Db, config: Config, slug: string, as: ApiWorld["as"]): Promise<TestTenant> {
  const homeserver = await ensureHomeserver(db, config.sealKeys, config.homeserver);
  const { tenant } = await createTenant(db, config.sealKeys, { slug, homeserver });
  const keys = openTokenKeys(config.sealKeys, tenant);
  const token: TestTenant["token"] = async (user, { nowMs = Date.now(), lifetimeS = 3_600 } = {}) =>
    (await signUserToken(keys, { tenant: slug, user }, { nowMs, lifetimeS })).token;
  return {
    row: tenant,
    server: as((await createApiKey(db, tenant.id, "server")).key),
    key: (role) => createApiKey(db, tenant.id, role),
    token,
    user: async (name) => as(await token(name)),
  };
}

function createAsk(url: string, credential: string | null): Ask {
  return async (method, path, { body, raw, headers = {} } = {}) => {
    const payload = raw ?? (body === undefined ? undefined : JSON.stringify(body));
    const response = await fetch(url + path, {
      method,
      redirect: "manual",
      headers: {
        ...(credential === null ? {} : { authorization: `Bearer ${credential}` }),
        ...(payload === undefined ? {} : { "content-type": "application/json" }),
        ...headers,
      },
      ...(payload === undefined
        ? {}
        : { body: typeof payload === "string" ? payload : new Uint8Array(payload) }),
    });
    const text = await response.text();
    const isJson = response.headers.get("content-type")?.includes("json") === true && text !== "";
    return {
      status: response.status,
      headers: response.headers,
      body: isJson ? (JSON.parse(text) as unknown) : text,
    };
  };
}

function countSockets(): number {
  return process.getActiveResourcesInfo().filter((name) => name === "TCPSocketWrap").length;
}

/** Counts the rows of all tables that a request can change. A refused request leaves them the same. */
export async function countRows(db: Db): Promise<Record<string, number>> {
  const tables = ["users", "rooms", "memberships", "messages", "timeline", "notices"];
  const counts = await Promise.all(
    tables.map(async (table) => {
      const { rows } = await db.raw<{ rows: { count: number }[] }>(`select count(*) as count from ${table}`);
      return [table, rows[0]?.count ?? 0] as const;
    }),
  );
  return Object.fromEntries(counts);
}
