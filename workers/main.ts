import { parseArgs } from "node:util";
import type { Config } from "../shared/platform/config.ts";
import { readProcessConfig } from "../shared/platform/process-config.ts";
import { ensureHomeserver } from "../shared/db/homeservers/homeservers.ts";
import { openDb } from "../shared/db/connection/open.ts";
import { requireSchema } from "../shared/db/connection/schema.ts";
import { registerConsumers } from "../shared/db/timeline/consumers.ts";
import { closeServer, openHealthServer } from "../shared/platform/http/health.ts";
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
} from "../shared/platform/redis.ts";
import { watchProblems, type ProblemWatch } from "../shared/platform/problems/problems.ts";
import { exitStalled, runProcess, type Resources } from "../shared/platform/shutdown.ts";
import type { WorkerContext } from "./runtime/context.ts";
import { createResumeAfterOutage } from "./runtime/resume-after-outage.ts";
import { createNewRoomVersion } from "./matrix/homeserver/room-versions.ts";
import { openHomeserverPool, type HomeserverPool } from "./matrix/homeserver/pool.ts";
import { createWorkerMetrics } from "./runtime/metrics.ts";
import { watchObservers, watchQueues, type OnStalled } from "./runtime/health-monitors.ts";
import { registerBacklogGauges } from "./runtime/backlog-gauges.ts";
import { createWorkerLook, jobsReadiness, syncReadiness } from "./runtime/health/readiness.ts";
import { registerHomeserverGauges } from "./runtime/health/homeserver-gauges.ts";
import { shareHomeserverStates } from "./runtime/health/share-homeserver-states.ts";
import { runJobs } from "./runtime/run-jobs.ts";
import { keepSchedules } from "./runtime/schedules.ts";
import { openSentPublisher } from "./outbound/sent-publisher.ts";
import { startSweeper } from "./runtime/sweeper.ts";
import { startSigns } from "./signs/send-signs.ts";
import { registerConsumerGauge } from "./consumers/due-gauge.ts";
import { RUNNING_CONSUMERS } from "./consumers/index.ts";
import { createAdaptiveBatchSize } from "./outbound/adaptive-batch-size.ts";
import { createRecentSends } from "./outbound/recent-sends.ts";
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
  const configured = await ensureHomeserver(db, config.sealKeys, config.homeserver);
  const queues = resources.add("queues", openQueues(redis, log), closeQueues);
  const wake = createWake(queues, metrics.wakeFailures);
  const resumeAfterOutage = createResumeAfterOutage(db, log);
  const homeservers = resources.add(
    "homeservers",
    openHomeserverPool({ db, sealKeys: config.sealKeys, metrics, log, onRecovered: resumeAfterOutage }),
    (pool) => {
      pool.close();
    },
  );
  registerHomeserverGauges(registry, homeservers);
  const stopping = new AbortController();
  const sent = resources.add("sent publisher", openSentPublisher({ db, redis, metrics, log }), (it) =>
    it.stop(),
  );
  const context: WorkerContext = {
    db,
    redis,
    wake,
    homeserver: homeservers.get,
    newRoomVersion: createNewRoomVersion(),
    consumers: RUNNING_CONSUMERS,
    metrics,
    log,
    stopping: stopping.signal,
    readsStream: config.readsStream,
    isContended: () => false,
    outboundBatchSize: createAdaptiveBatchSize(),
    recentSends: createRecentSends(),
    sent,
    chance: Math.random,
    hitFailpoint: createFailpoint(config.failpoint),
  };
  const problems = await watchHealth(resources, context, homeservers, configured.id);
  if (roles.includes("jobs")) await startJobs(resources, config, { context, queues, problems });
  if (roles.includes("sync")) await startSync(resources, config, { context, problems });
  // Added last and so closed first: loops end at their next safe place while the rest is closed.
  resources.add("loops", stopping, (controller) => {
    controller.abort();
  });
  log.info({ roles }, "ready");
}

async function startJobs(
  resources: Resources,
  config: Config,
  { context, queues, problems }: { context: WorkerContext; queues: Queues; problems: ProblemWatch },
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
  resources.add("sweeper", startSweeper(context, queues, jobs.isWaiting), (sweeper) => sweeper.stop());
  resources.add("signs", startSigns(context), (signs) => signs.stop());
  resources.add("schedules", keepSchedules(queues, context.log), (schedules) => schedules.stop());
  const monitor = watchQueues({ redis: context.redis, queues, jobs, onStalled: exitOnStall(context.log) });
  resources.add("queue monitor", monitor, (it) => {
    it.stop();
  });
  const readiness = async () => jobsReadiness(await problems.read());
  const server = await openHealthServer({
    port: config.ports.jobs,
    host: config.bindAddress,
    metrics: context.metrics.registry,
    readiness,
  });
  resources.add("jobs health", server, closeServer);
}

/** Watches what both roles need: Postgres, Redis, and the homeservers, the configured one from the start. */
async function watchHealth(
  resources: Resources,
  { db, redis, log }: WorkerContext,
  homeservers: HomeserverPool,
  configuredId: string,
): Promise<ProblemWatch> {
  await homeservers.get(configuredId);
  const sharing = shareHomeserverStates({ db, homeservers, log });
  resources.add("homeserver states", sharing, (it) => it.stop());
  const look = createWorkerLook({ db, redis, homeservers });
  return resources.add("problems", watchProblems({ look, log }), (it) => it.stop());
}

function exitOnStall(log: Log): OnStalled {
  return (about, why) => exitStalled(log, about, why);
}

async function startSync(
  resources: Resources,
  config: Config,
  { context, problems }: { context: WorkerContext; problems: ProblemWatch },
): Promise<void> {
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
  const readiness = async () => syncReadiness(await problems.read(), observers.silentForMs());
  const server = await openHealthServer({
    port: config.ports.sync,
    host: config.bindAddress,
    metrics: context.metrics.registry,
    readiness,
  });
  resources.add("sync health", server, closeServer);
}
