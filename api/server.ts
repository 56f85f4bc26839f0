import { randomUUID } from "node:crypto";
import type { RequestListener, Server } from "node:http";
import type { Config } from "../shared/platform/config.ts";
import { countWaitingOfTenant } from "../shared/db/messages/waiting-messages.ts";
import { openDb, type Db } from "../shared/db/connection/open.ts";
import { requireSchema } from "../shared/db/connection/schema.ts";
import { AppError } from "../shared/contract/errors.ts";
import { createHttpServer, listen } from "../shared/platform/http/http-server.ts";
import { openOrigins } from "../shared/auth/origins.ts";
import { createFailpoint } from "../shared/platform/failpoints.ts";
import type { Log } from "../shared/platform/log.ts";
import { createMetrics } from "../shared/platform/metrics.ts";
import { closeQueues, createWake, openQueues, type Queues } from "../shared/queues/open.ts";
import { closeRedis, openRedis, type Redis } from "../shared/platform/redis.ts";
import { watchProblems } from "../shared/platform/problems/problems.ts";
import type { Resources } from "../shared/platform/shutdown.ts";
import { adminPage } from "./admin/pages.ts";
import { createAccept } from "./accept/accept.ts";
import { createAfterCommit } from "./after-commit/after-commit.ts";
import { createApp } from "./http/app.ts";
import { createActAs } from "./auth/act-as.ts";
import { createAuthenticate, createFindTenant } from "./auth/authenticate.ts";
import { docsPage } from "./http/docs.ts";
import { describeEvents } from "./events/event-schemas.ts";
import { healthPages } from "./http/health.ts";
import { createSharedCounters } from "./rate-limit/shared-counters.ts";
import { createRateLimits } from "./rate-limit/rate-limits.ts";
import { createIdentifyCaller } from "./rate-limit/identify-caller.ts";
import { createApiMetrics } from "./metrics.ts";
import { createOpenApi } from "./http/openapi.ts";
import { createMessageQuota } from "./rate-limit/message-quota.ts";
import { describeProblem, problemHeaders } from "./http/problem.ts";
import { createApiLook } from "./status/find-problems.ts";
import { createRoutes } from "./routes/index.ts";
import { createKeyedMutex } from "../shared/platform/concurrency/keyed-mutex.ts";
import { withTimeout } from "../shared/platform/concurrency/with-timeout.ts";
import { createLongPoll } from "./http/long-poll.ts";

/** The version of the contract that the document describes. It changes with /v1, not with the program's releases. */
const CONTRACT_VERSION = "1.0.0";
const DB_CONNECTIONS = 16;
const DRAIN_LIMIT_MS = 5_000;

/** Opens the API and registers what it opens. Starts without Redis; is not ready while Postgres is away. */
export async function openApi(config: Config, log: Log, resources: Resources): Promise<Server> {
  const registry = createMetrics();
  const metrics = createApiMetrics(registry);
  const { db, redis, queues } = await openStores(config, log, resources);
  const now = Date.now;
  const afterCommit = resources.add(
    "after-commit",
    createAfterCommit({ db, redis, wake: createWake(queues, metrics.wakeFailures), log, metrics }),
    (it) => it.drain(),
  );
  const hitFailpoint = createFailpoint(config.failpoint);
  const accept = createAccept({ db, afterCommit, now }, (accepted) => {
    metrics.accepted.inc(accepted.length);
    hitFailpoint("between commit and publish");
  });
  const findTenant = createFindTenant(db, config.sealKeys, now);
  const withinQuota = createMessageQuota((tenantId) => countWaitingOfTenant(db, tenantId), now);
  const authenticate = createAuthenticate({ db, findTenant, now });
  const mutex = createKeyedMutex();
  const routes = createRoutes({ db, redis, afterCommit, mutex, accept, withinQuota, findTenant, now });
  const counters = createSharedCounters(redis, now, () => void metrics.countedAlone.inc());
  const limits = createRateLimits(counters, metrics.rateLimited);
  const identifyCaller = createIdentifyCaller(limits, now);
  const origins = resources.add("origins", await openOrigins(db, config.allowedOrigins), (it) => {
    it.close();
  });
  let isClosing = false;
  const look = createApiLook({ db, redis });
  const problems = resources.add("problems", watchProblems({ look, log }), (it) => it.stop());
  const app = createApp({
    log,
    authenticate,
    actAs: createActAs({ db, now }),
    routes,
    longPoll: createLongPoll(),
    identifyCaller,
    allowedOrigins: config.allowedOrigins,
    isKnownOrigin: origins.isKnown,
    trustedProxies: config.trustedProxies,
    durations: metrics.requestSeconds,
    pages: [
      ...healthPages({ problems, metrics: registry, isClosing: () => isClosing }),
      docsPage(createOpenApi(routes, CONTRACT_VERSION), describeEvents()),
      adminPage({
        ...{ db, redis, queues, problems, authenticate, identifyCaller, limits, now },
        sealKeys: config.sealKeys,
      }),
    ],
  });
  const server = createHttpServer(app as RequestListener, {
    maxConnections: config.apiConnections,
    onFull: refuseConnection,
    onRefused: () => void metrics.connectionsRefused.inc(),
  });
  await listen(server, { port: config.ports.api, host: config.bindAddress });
  return resources.add("http", server, async (it) => {
    isClosing = true;
    await stopServing(it);
  });
}

async function openStores(
  config: Config,
  log: Log,
  resources: Resources,
): Promise<{ db: Db; redis: Redis; queues: Queues }> {
  const db = resources.add(
    "db",
    openDb({ url: config.databaseUrl, name: "api", max: DB_CONNECTIONS, log }),
    (pool) => pool.destroy(),
  );
  await requireSchema(db);
  const redis = resources.add("redis", openRedis(config.redisUrl, log, "api"), closeRedis);
  const queues = resources.add("queues", openQueues(redis, log), closeQueues);
  return { db, redis, queues };
}

const refuseConnection: RequestListener = (_request, response) => {
  const error = new AppError("unavailable", "This process has too many connections. Try again.");
  const { status, ...problem } = describeProblem(error, randomUUID());
  response.writeHead(status, problemHeaders(error)).end(JSON.stringify({ ...problem, status }));
};

/** Accepts no more connections, lets running requests end for 5 s, then cuts the rest. */
async function stopServing(server: Server): Promise<void> {
  const closed = new Promise<void>((resolve) => {
    server.close(() => {
      resolve();
    });
  });
  server.closeIdleConnections();
  await withTimeout(closed, DRAIN_LIMIT_MS, () => {
    server.closeAllConnections();
  });
  await closed;
}
