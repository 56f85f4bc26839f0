import { createFailpoint } from "../../../shared/platform/failpoints.ts";
import { readConfig } from "../../../shared/platform/config.ts";
import { openHealthServer } from "../../../shared/platform/http/health.ts";
import { createLog } from "../../../shared/platform/log.ts";
import { createMetrics } from "../../../shared/platform/metrics.ts";
import { openWorkerRedis, openRedis, waitForRedis } from "../../../shared/platform/redis.ts";
import { ensureHomeserver } from "../../../shared/db/homeservers/homeservers.ts";
import { openDb, type Db } from "../../../shared/db/connection/open.ts";
import { registerConsumers } from "../../../shared/db/timeline/consumers.ts";
import { createWake, openQueues } from "../../../shared/queues/open.ts";
import { defineConsumer, numbersOf } from "../../../shared/timeline/consumers/define.ts";
import type { RunningConsumer } from "../../../workers/consumers/deliver.ts";
import { registerConsumerGauge } from "../../../workers/consumers/due-gauge.ts";
import { openHomeserverPool } from "../../../workers/matrix/homeserver/pool.ts";
import { createNewRoomVersion } from "../../../workers/matrix/homeserver/room-versions.ts";
import { createAdaptiveBatchSize } from "../../../workers/outbound/adaptive-batch-size.ts";
import { createRecentSends } from "../../../workers/outbound/recent-sends.ts";
import type { WorkerContext } from "../../../workers/runtime/context.ts";
import { createWorkerMetrics } from "../../../workers/runtime/metrics.ts";
import { createResumeAfterOutage } from "../../../workers/runtime/resume-after-outage.ts";
import { runJobs } from "../../../workers/runtime/run-jobs.ts";
import { openSentPublisher } from "../../../workers/outbound/sent-publisher.ts";
import { startSweeper } from "../../../workers/runtime/sweeper.ts";

/*
 * A jobs process of the product with one more timeline consumer, `recorder`. It writes what it receives to the table
 * `recorded`, in a transaction of its own: what it wrote stays, whatever happens to the cursor. DIE_AT_NUMBER makes the
 * process kill itself after it has written that number and before the cursor moves.
 */

const dieAtNumber = Number(process.env["DIE_AT_NUMBER"] ?? 0);

const recorder: RunningConsumer = {
  ...defineConsumer({ name: "recorder", start: 1 }),
  deliver: async (delivery, { db }) => {
    const { first } = numbersOf(delivery);
    await db.raw("insert into recorded (room_id, number, type) values (?, ?, ?)", [
      delivery.roomId,
      first,
      delivery.type,
    ]);
    if (first === dieAtNumber) process.kill(process.pid, "SIGKILL");
  },
};

const config = readConfig(process.env);
const log = createLog({ level: config.logLevel, tier: "consumer-jobs" });
const db = openDb({ url: config.databaseUrl, name: "consumer-jobs", max: 20, log });
const redis = openRedis(config.redisUrl, log, "commands");
await waitForRedis(redis, 2_000);
await ensureHomeserver(db, config.sealKeys, config.homeserver);
await createTable(db);
await registerConsumers(db, [recorder]);
const metrics = createWorkerMetrics(createMetrics());
registerConsumerGauge(metrics.registry, db);
const queues = openQueues(redis, log);
const onRecovered = createResumeAfterOutage(db, log);
const context: WorkerContext = {
  ...{ db, redis, metrics, log, consumers: [recorder], readsStream: config.readsStream },
  wake: createWake(queues, metrics.wakeFailures),
  homeserver: openHomeserverPool({ db, sealKeys: config.sealKeys, metrics, log, onRecovered }).get,
  newRoomVersion: createNewRoomVersion(),
  stopping: new AbortController().signal,
  isContended: () => false,
  outboundBatchSize: createAdaptiveBatchSize(),
  recentSends: createRecentSends(),
  sent: openSentPublisher({ db, redis, metrics, log }),
  chance: Math.random,
  hitFailpoint: createFailpoint(config.failpoint),
};
const jobs = runJobs(context, openWorkerRedis(config.redisUrl, log, "workers"));
startSweeper(context, queues, jobs.isWaiting);
await openHealthServer({
  port: config.ports.jobs,
  host: config.bindAddress,
  metrics: metrics.registry,
  readiness: () => Promise.resolve({ ready: true, degraded: [] }),
});

/** Two processes may start at once. */
async function createTable(pool: Db): Promise<void> {
  await pool.transaction(async (trx) => {
    await trx.raw("select pg_advisory_xact_lock(7043)");
    await trx.raw(
      "create table if not exists recorded (place bigserial primary key, room_id uuid, number bigint, type text)",
    );
  });
}
