import { createLog } from "../../shared/platform/log.ts";
import { createMetrics } from "../../shared/platform/metrics.ts";
import { openDb } from "../../shared/db/connection/open.ts";
import { closeQueues, createWake, openQueues } from "../../shared/queues/open.ts";
import { closeRedis, openWorkerRedis, openRedis, waitForRedis } from "../../shared/platform/redis.ts";
import { createWorkerMetrics } from "../../workers/runtime/metrics.ts";
import { createNewRoomVersion } from "../../workers/matrix/homeserver/room-versions.ts";
import { createAdaptiveBatchSize } from "../../workers/outbound/adaptive-batch-size.ts";
import { createRecentSends } from "../../workers/outbound/recent-sends.ts";
import { runJobs } from "../../workers/runtime/run-jobs.ts";
import { openSentPublisher } from "../../workers/outbound/sent-publisher.ts";
import { startSweeper } from "../../workers/runtime/sweeper.ts";
import type { WorkerContext } from "../../workers/runtime/context.ts";
import { countRedisCommands } from "./count-commands.ts";
import { createNoOpHomeserver } from "./no-op-homeserver.ts";
import { runRawWorker } from "./raw-queue.ts";

/**
 * The workers' side of the pipeline's bench, in a process of its own as in production: `ours` runs the real handlers
 * with a homeserver that does nothing, `raw` runs a BullMQ worker that does nothing.
 */
const [, , kind, databaseUrl = "", redisUrl = ""] = process.argv;
const log = createLog({ level: "warn", tier: "bench" });
const close = kind === "raw" ? runRawWorker(redisUrl, log) : await runOurs();

process.on("message", (message) => {
  if (message === "stop") void close().then(() => process.exit(0));
});
process.send?.({ ready: true });

async function runOurs(): Promise<() => Promise<void>> {
  const commands = countRedisCommands();
  let statements = 0;
  const db = openDb({ url: databaseUrl, name: "bench-workers", max: 20 });
  db.on("query", () => {
    statements++;
  });
  process.on("message", (message) => {
    if (message === "usage") process.send?.({ usage: { statements, commands: commands() } });
  });
  const redis = openRedis(redisUrl, log, "bench");
  await waitForRedis(redis, 5_000);
  const queues = openQueues(redis, log);
  const metrics = createWorkerMetrics(createMetrics());
  const homeserver = createNoOpHomeserver();
  const stopping = new AbortController();
  const sent = openSentPublisher({ db, redis, metrics, log });
  const context: WorkerContext = {
    db,
    redis,
    wake: createWake(queues, metrics.wakeFailures),
    homeserver: () => Promise.resolve(homeserver),
    newRoomVersion: createNewRoomVersion(),
    metrics,
    log,
    stopping: stopping.signal,
    readsStream: false,
    consumers: [],
    isContended: () => false,
    outboundBatchSize: createAdaptiveBatchSize(),
    recentSends: createRecentSends(),
    sent,
    chance: Math.random,
    hitFailpoint: () => undefined,
  };
  const patient = openWorkerRedis(redisUrl, log, "bench-workers");
  const jobs = runJobs(context, patient);
  const sweeper = startSweeper(context, queues, jobs.isWaiting);
  return async () => {
    stopping.abort();
    await sweeper.stop();
    await sent.stop();
    await jobs.close();
    await closeQueues(queues);
    closeRedis(patient);
    closeRedis(redis);
    await db.destroy();
  };
}
