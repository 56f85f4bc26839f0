import { createServer, type Server } from "node:http";
import type { Config } from "../shared/platform/config.ts";
import { countOpenMessages, acceptMessages } from "../shared/db/messages/messages.ts";
import { openDb, type Db } from "../shared/db/connection/open.ts";
import { requireSchema } from "../shared/db/connection/schema.ts";
import { openOrigins } from "../shared/auth/origins.ts";
import { closeServer } from "../shared/platform/health.ts";
import { createFailpoint } from "../shared/platform/failpoints.ts";
import type { Log } from "../shared/platform/log.ts";
import { type Counter, createMetrics } from "../shared/platform/metrics.ts";
import { closeQueues, createWake, openQueues } from "../shared/queues/open.ts";
import { closeRedis, openRedis } from "../shared/platform/redis.ts";
import type { Resources } from "../shared/platform/shutdown.ts";
import { adminPage } from "./admin/pages.ts";
import { createAcceptBatcher, type Accept } from "./accept/accept-batcher.ts";
import { createAfterCommit, type AfterCommit } from "./accept/after-commit.ts";
import { createApp } from "./http/app.ts";
import { createAuthenticate, createFindTenant } from "./auth/authenticate.ts";
import { docsPage } from "./http/docs.ts";
import { healthPages } from "./http/health.ts";
import { createSharedCounters } from "./rate-limit/shared-counters.ts";
import { createLimits } from "./rate-limit/rate-limits.ts";
import { createApiMetrics } from "./metrics.ts";
import { createOpenApi } from "./http/openapi.ts";
import { createMessageQuota } from "./rate-limit/message-quota.ts";
import { createRoutes } from "./routes/index.ts";
import { createKeyedMutex } from "../shared/platform/concurrency/keyed-mutex.ts";
import { createLongPoll } from "./http/long-poll.ts";

/** Of the contract, which the document describes: it goes with /v1, not with the program's releases. */
const CONTRACT_VERSION = "1.0.0";
const DB_CONNECTIONS = 16;
const DRAIN_PAUSE_MS = 5_000;

/** Opens the API; what it opens is held, and closed in reverse. Starts without Redis, and without Postgres is not ready. */
export async function openApi(config: Config, log: Log, resources: Resources): Promise<Server> {
  const registry = createMetrics();
  const metrics = createApiMetrics(registry);
  const db = resources.add(
    "db",
    openDb({ url: config.databaseUrl, name: "api", max: DB_CONNECTIONS, log }),
    (pool) => pool.destroy(),
  );
  await requireSchema(db);
  const redis = resources.add("redis", openRedis(config.redisUrl, log, "api"), closeRedis);
  const queues = resources.add("queues", openQueues(redis, log), closeQueues);
  const now = Date.now;
  const afterCommit = resources.add(
    "aftermath",
    createAfterCommit({ db, redis, wake: createWake(queues, metrics.wakeFailures), log, metrics }),
    (it) => it.drain(),
  );
  const hitFailpoint = createFailpoint(config.failpoint);
  const accept = openAccept({ db, afterCommit, accepted: metrics.accepted, hitFailpoint, now });
  const findTenant = createFindTenant(db, config.sealKeys, now);
  const withinQuota = createMessageQuota((tenantId, limit) => countOpenMessages(db, tenantId, limit), now);
  const authenticate = createAuthenticate({ db, findTenant, now });
  const routes = createRoutes({
    db,
    afterCommit,
    mutex: createKeyedMutex(),
    accept,
    withinQuota,
    findTenant,
    now,
  });
  const countAll = createSharedCounters(redis, now, () => void metrics.limitsAlone.inc());
  const limits = createLimits(countAll, metrics.rateLimited);
  const origins = resources.add("origins", await openOrigins(db, config.allowedOrigins), (it) => {
    it.close();
  });
  let isClosing = false;
  const app = createApp({
    log,
    authenticate,
    routes,
    longPoll: createLongPoll(),
    limits,
    allowedOrigins: config.allowedOrigins,
    isKnownOrigin: origins.isKnown,
    trustedProxies: config.trustedProxies,
    durations: metrics.requestSeconds,
    pages: [
      ...healthPages({ db, redis, metrics: registry, isClosing: () => isClosing }),
      docsPage(createOpenApi(routes, CONTRACT_VERSION)),
      adminPage({ db, redis, queues, authenticate, limits, sealKeys: config.sealKeys, now }),
    ],
  });
  const server = await listen(app, config.ports.api);
  return resources.add("http", server, async (it) => {
    isClosing = true;
    await stopServing(it);
  });
}

/** Accepts in batches, and tells the rest of the house of each. */
function openAccept(deps: {
  db: Db;
  afterCommit: AfterCommit;
  accepted: Counter;
  hitFailpoint: ReturnType<typeof createFailpoint>;
  now: () => number;
}): Accept {
  return createAcceptBatcher(
    (messages) => acceptMessages(deps.db, messages, deps.afterCommit.wakeRooms),
    (acceptances) => {
      const accepted = acceptances.filter((it) => it.outcome === "accepted");
      deps.accepted.inc(accepted.length);
      if (accepted.length === 0) return;
      deps.hitFailpoint("between commit and wake");
      deps.afterCommit.tellAccepted(accepted);
    },
    deps.now,
  );
}

async function listen(app: ReturnType<typeof createApp>, port: number): Promise<Server> {
  const server = createServer(app);
  server.requestTimeout = 15_000;
  server.headersTimeout = 10_000;
  server.keepAliveTimeout = 65_000;
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, () => {
      server.off("error", reject);
      resolve();
    });
  });
  return server;
}

/** Takes no more connections, lets what runs be answered for 5 s, then cuts the rest. */
async function stopServing(server: Server): Promise<void> {
  const closed = new Promise<void>((resolve) => {
    server.close(() => {
      resolve();
    });
  });
  server.closeIdleConnections();
  const timer = setTimeout(() => void closeServer(server), DRAIN_PAUSE_MS);
  await closed;
  clearTimeout(timer);
}
