import { parseArgs } from "node:util";
import type { Config } from "../shared/platform/config.ts";
import { readProcessConfig } from "../shared/platform/process-config.ts";
import { ensureHomeserver } from "../shared/db/homeservers/homeservers.ts";
import { isDbUp, openDb, type Db } from "../shared/db/connection/open.ts";
import { requireSchema } from "../shared/db/connection/schema.ts";
import { registerConsumers } from "../shared/db/timeline/consumers.ts";
import { closeServer, openHealthServer, type Readiness } from "../shared/platform/health.ts";
import { createFailpoint } from "../shared/platform/failpoints.ts";
import { createLog, type Log } from "../shared/platform/log.ts";
import { createMetrics, gauge, gaugeOfEach } from "../shared/platform/metrics.ts";
import { closeQueues, createWake, openQueues, type Queues } from "../shared/queues/open.ts";
import {
  closeRedis,
  openWorkerRedis,
  openRedis,
  requireNoEviction,
  waitForRedis,
  type Redis,
} from "../shared/platform/redis.ts";
import { exitStalled, runProcess, type Resources } from "../shared/platform/shutdown.ts";
import type { WorkerContext } from "./runtime/context.ts";
import { createResumeAfterOutage } from "./runtime/resume-after-outage.ts";
import { openHomeserverPool } from "./matrix/homeserver/pool.ts";
import { OUTBOUND_CONCURRENCY } from "./jobs/index.ts";
import { createWorkerMetrics } from "./runtime/metrics.ts";
import { watchObservers, watchQueues, type OnStalled } from "./runtime/health-monitors.ts";
import { registerBacklogGauges } from "./runtime/backlog-gauges.ts";
import { runJobs } from "./runtime/run-jobs.ts";
import { keepSchedules } from "./runtime/schedules.ts";
import { startSweeper } from "./runtime/sweeper.ts";
import { registerConsumerGauge } from "./consumers/due-gauge.ts";
import { RUNNING_CONSUMERS } from "./consumers/index.ts";
import { syncReadiness } from "./inbound/observers/readiness.ts";
import { createAdaptiveBatchSize } from "./outbound/adaptive-batch-size.ts";
import { createTenantSemaphore } from "./outbound/tenant-semaphore.ts";
import { startObservers } from "./inbound/observers/observers.ts";

const ROLES = ["jobs", "sync"] as const;
type WorkerRole = (typeof ROLES)[number];

const STOP_LIMIT_MS = 10_000;

const roles = readRoles();
const config = readProcessConfig(process.env);
const log = createLog({ level: config.logLevel, tier: roles.join("+") });
await runProcess(log, STOP_LIMIT_MS, (resources) => start(resources, config, log, roles));

/** The roles that `--role` names, which may be given twice; both without it. */
function readRoles(): WorkerRole[] {
  const { values } = parseArgs({ options: { role: { type: "string", multiple: true } } });
  const named = values.role ?? [...ROLES];
  const unknown = named.find((name) => !ROLES.includes(name as WorkerRole));
  if (unknown !== undefined) {
    process.stderr.write(`unknown role ${unknown}: use --role jobs or --role sync\n`);
    process.exit(2);
  }
  return ROLES.filter((role) => named.includes(role));
}

async function start(
  resources: Resources,
  config: Config,
  log: Log,
  roles: readonly WorkerRole[],
): Promise<void> {
  const registry = createMetrics();
  const metrics = createWorkerMetrics(registry);
  const db = resources.add(
    "postgres",
    openDb({ url: config.databaseUrl, name: roles.join("+"), max: 20, log }),
    (pool) => pool.destroy(),
  );
  await requireSchema(db);
  const redis = resources.add("redis", openRedis(config.redisUrl, log, "commands"), closeRedis);
  await waitForRedis(redis, 2_000);
  await requireNoEviction(redis);
  await ensureHomeserver(db, config.sealKeys, config.homeserver);
  const queues = resources.add("queues", openQueues(redis, log), closeQueues);
  const wake = createWake(queues, metrics.wakeFailures);
  const resumeAfterOutage = createResumeAfterOutage(db, log);
  const homeservers = openHomeserverPool({
    db,
    sealKeys: config.sealKeys,
    metrics,
    log,
    onRecovered: resumeAfterOutage,
  });
  gauge(
    registry,
    { name: "omc_breakers_open", help: "Homeservers to which no calls go because they do not answer" },
    homeservers.openBreakers,
  );
  const stopping = new AbortController();
  const context: WorkerContext = {
    db,
    redis,
    wake,
    homeserver: homeservers.get,
    consumers: RUNNING_CONSUMERS,
    metrics,
    log,
    stopping: stopping.signal,
    readsStream: config.readsStream,
    outboundSemaphore: createTenantSemaphore(OUTBOUND_CONCURRENCY),
    outboundBatchSize: createAdaptiveBatchSize(),
    chance: Math.random,
    hitFailpoint: createFailpoint(config.failpoint),
  };
  if (roles.includes("jobs")) await startJobs(resources, config, context, queues);
  if (roles.includes("sync")) await startSync(resources, config, context);
  // Added last and so closed first: loops end at their next safe place while the rest is closed.
  resources.add("loops", stopping, (controller) => {
    controller.abort();
  });
  log.info({ roles }, "ready");
}

async function startJobs(
  resources: Resources,
  config: Config,
  context: WorkerContext,
  queues: Queues,
): Promise<void> {
  const workerRedis = resources.add(
    "worker redis",
    openWorkerRedis(config.redisUrl, context.log, "workers"),
    closeRedis,
  );
  await registerConsumers(context.db, context.consumers);
  registerBacklogGauges(context.metrics.registry, context.db);
  registerConsumerGauge(context.metrics.registry, context.db);
  const jobs = resources.add("jobs", runJobs(context, workerRedis), (running) => running.close());
  resources.add("sweeper", startSweeper(context, queues), (sweeper) => sweeper.stop());
  resources.add("schedules", keepSchedules(queues, context.log), (schedules) => schedules.stop());
  const monitor = watchQueues({ redis: context.redis, queues, jobs, onStalled: exitOnStall(context.log) });
  resources.add("queue monitor", monitor, (it) => {
    it.stop();
  });
  const readiness = () => jobsReadiness(context.db, context.redis);
  const server = await openHealthServer({
    port: config.ports.jobs,
    host: config.bindAddress,
    metrics: context.metrics.registry,
    readiness,
  });
  resources.add("jobs health", server, closeServer);
}

async function jobsReadiness(db: Db, redis: Redis): Promise<Readiness> {
  const isPostgresUp = await isDbUp(db);
  const isRedisUp = await redis.ping().then(
    () => true,
    () => false,
  );
  const degraded = [...(isPostgresUp ? [] : ["postgres"]), ...(isRedisUp ? [] : ["redis"])];
  return { ready: degraded.length === 0, degraded };
}

function exitOnStall(log: Log): OnStalled {
  return (about, why) => exitStalled(log, about, why);
}

async function startSync(resources: Resources, config: Config, context: WorkerContext): Promise<void> {
  const observers = resources.add("observers", startObservers(context), (running) => running.stop());
  gauge(
    context.metrics.registry,
    { name: "omc_observers", help: "Observers that this process runs" },
    observers.count,
  );
  gaugeOfEach(
    context.metrics.registry,
    { name: "omc_sync_silent_seconds", help: "Time since an observer last read something, by observer" },
    "observer",
    () => observers.silences().map(([observer, silentMs]) => [observer, silentMs / 1_000] as const),
  );
  const monitor = watchObservers({ observers, onStalled: exitOnStall(context.log) });
  resources.add("observer monitor", monitor, (it) => {
    it.stop();
  });
  const readiness = () => syncReadiness(context, observers, config.homeserver.baseUrl);
  const server = await openHealthServer({
    port: config.ports.sync,
    host: config.bindAddress,
    metrics: context.metrics.registry,
    readiness,
  });
  resources.add("sync health", server, closeServer);
}
