import { readProcessConfig } from "../shared/platform/process-config.ts";
import { openDb } from "../shared/db/connection/open.ts";
import { requireSchema } from "../shared/db/connection/schema.ts";
import { createLog } from "../shared/platform/log.ts";
import { createMetrics } from "../shared/platform/metrics.ts";
import { closeRedis, openRedis, openSubscriberRedis, waitForRedis } from "../shared/platform/redis.ts";
import { runProcess } from "../shared/platform/shutdown.ts";
import { VERSION } from "../shared/platform/version.ts";
import { LIMITS } from "./limits.ts";
import { createPolicy } from "./policy/create-policy.ts";
import { isChild } from "./cluster/messages.ts";
import { superviseProcesses } from "./cluster/processes.ts";
import { readAllMetrics, reportToParent } from "./cluster/process-metrics.ts";
import { loadTransport } from "./transport/load.ts";
import { openRealtime } from "./app.ts";

/** Longer than the drain: the last sockets and pools are closed after it. */
const STOP_LIMIT_MS = LIMITS.drainMs + 5_000;
const START_WAIT_MS = 2_000;

const config = readProcessConfig(process.env);
const log = createLog({ level: config.logLevel, tier: "realtime" });

await runProcess(log, STOP_LIMIT_MS, async (resources) => {
  const processes = config.realtimeProcesses;
  const openTransport = await loadTransport(config.transport, { processes, log });
  if (processes > 1 && !isChild()) {
    const supervisor = await superviseProcesses({
      count: processes,
      port: config.ports.realtime,
      host: config.bindAddress,
      log,
    });
    resources.add("processes", supervisor, (value) => value.close());
    return;
  }
  // Short statements: a client waits 5 s for its reply.
  const db = openDb({ url: config.databaseUrl, name: "realtime", statementTimeoutMs: 3_000, log });
  resources.add("postgres", db, (value) => value.destroy());
  await requireSchema(db);
  const redis = resources.add("redis", openRedis(config.redisUrl, log, "realtime"), closeRedis);
  const subscriber = resources.add(
    "redis subscriber",
    openSubscriberRedis(config.redisUrl, log, "realtime-live"),
    closeRedis,
  );
  await waitForRedis(redis, START_WAIT_MS);
  const metrics = createMetrics();
  reportToParent(metrics);
  const { allowedOrigins, sealKeys } = config;
  const app = await openRealtime({
    openTransport,
    port: config.ports.realtime,
    host: config.bindAddress,
    isSharedPort: isChild(),
    allowedOrigins,
    trustedProxies: config.trustedProxies,
    limits: { ...LIMITS, ...config.socketLimits },
    version: `openmeet-chat ${VERSION}`,
    db,
    redis,
    subscriber,
    policy: createPolicy({ db, sealKeys, rooms: LIMITS.serverRooms, allowedOrigins }),
    metrics,
    readMetrics: () => readAllMetrics(metrics),
    log,
  });
  resources.add("sockets", app, (value) => value.close());
  log.info({ port: app.port, transport: app.transport }, "listening");
});
