// One realtime process of a test, with its own limits: `node realtime-child.mjs <dist> <options as JSON>`.
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [dist = "", text = "{}"] = process.argv.slice(2);
const options = JSON.parse(text);
/** @param {string} file */
const load = (file) => import(pathToFileURL(join(dist, file)).href);
const [
  { openRealtime },
  { loadTransport },
  { createPolicy },
  { LIMITS },
  { openDb },
  redisDoor,
  { createLog },
  { createMetrics },
] = await Promise.all([
  load("realtime/app.js"),
  load("realtime/transport/load.js"),
  load("realtime/policy/create-policy.js"),
  load("realtime/limits.js"),
  load("shared/db/connection/open.js"),
  load("shared/platform/redis.js"),
  load("shared/platform/log.js"),
  load("shared/platform/metrics.js"),
]);
const log = createLog({ level: options.logLevel ?? "error", tier: "realtime" });
const limits = { ...LIMITS, ...options.limits };
const db = openDb({ url: options.databaseUrl, name: "realtime-test", statementTimeoutMs: 3_000 });
const redis = redisDoor.openRedis(options.redisUrl, log, "realtime-test");
const subscriber = redisDoor.openSubscriberRedis(options.redisUrl, log, "realtime-test-live");
await redisDoor.waitForRedis(redis, 2_000);
const metrics = createMetrics();
const sealKeys = [{ id: options.sealKey.id, key: Buffer.from(options.sealKey.base64, "base64") }];
const app = await openRealtime({
  openTransport: await loadTransport(options.transport ?? "uws", { processes: 1, log }),
  port: options.port ?? 0,
  isSharedPort: options.isSharedPort ?? false,
  allowedOrigins: options.allowedOrigins ?? [],
  trustedProxies: options.trustedProxies ?? [],
  limits,
  version: "test",
  db,
  redis,
  subscriber,
  policy: createPolicy({
    db,
    sealKeys,
    rooms: limits.serverRooms,
    allowedOrigins: options.allowedOrigins ?? [],
  }),
  metrics,
  readMetrics: () => metrics.metrics(),
  log,
});
const stop = async () => {
  await app.close();
  redis.disconnect();
  subscriber.disconnect();
  await db.destroy();
  process.exit(0);
};
process.once("SIGTERM", () => void stop());
process.once("disconnect", () => process.exit(1));
process.send?.({ port: app.port });
