import type { Db } from "../shared/db/connection/open.ts";
import { isDbUp } from "../shared/db/connection/open.ts";
import type { Readiness } from "../shared/platform/health.ts";
import type { Log } from "../shared/platform/log.ts";
import type { Registry } from "../shared/platform/metrics.ts";
import { openOrigins } from "../shared/auth/origins.ts";
import type { Redis } from "../shared/platform/redis.ts";
import { CatchUp } from "./channels/catch-up.ts";
import { runCommands } from "./session/run-commands.ts";
import type { ConnectDeps } from "./session/connect.ts";
import { Connection, type ConnectionDeps } from "./session/connection.ts";
import { checkDeadlines } from "./session/deadlines.ts";
import { deliver, type DeliverDeps } from "./channels/deliver.ts";
import { drain } from "./session/drain.ts";
import { RealtimeMetrics, registerHubGauges } from "./metrics.ts";
import { Semaphore } from "../shared/platform/concurrency/semaphore.ts";
import { Hub } from "./channels/hub.ts";
import type { Limits } from "./limits.ts";
import { ControlMessages } from "./policy/control-messages.ts";
import { Flusher } from "./session/outbound-queue.ts";
import type { Policy } from "./policy/policy.ts";
import { AntiEntropy } from "./channels/anti-entropy.ts";
import { Heartbeat } from "./broker/heartbeat.ts";
import { parseFrame } from "./protocol/json.ts";
import { RedisSubscriptions } from "./broker/redis-subscriptions.ts";
import { openServer, type Answer } from "./transport/uws.ts";
import { Streams } from "./channels/streams.ts";
import type { Topic } from "./channels/topic.ts";

export type RealtimeOptions = {
  port: number;
  isSharedPort: boolean;
  allowedOrigins: readonly string[];
  limits: Limits;
  version: string;
  db: Db;
  redis: Redis;
  /** A connection of its own: it listens and takes no commands. */
  subscriber: Redis;
  policy: Policy;
  metrics: Registry;
  /** The text of `/metrics`; of all processes, where there are several. */
  readMetrics: () => Promise<string>;
  log: Log;
};

export type Tier = { port: number; close: () => Promise<void> };

/** How long closed sockets have to take their last frame. */
const LAST_FRAME_MS = 250;

/** Opens the tier on its port; `close` drains it. */
export async function openRealtime(options: RealtimeOptions): Promise<Tier> {
  const { limits } = options;
  const parts = assemble(options);
  const { hub, metrics } = parts;
  const origins = await openOrigins(options.db, options.allowedOrigins);
  let isDraining = false;
  const connectionDeps = createConnectionDeps(options, parts);
  const server = await openServer({
    port: options.port,
    isShared: options.isSharedPort,
    limits,
    isKnownOrigin: origins.isKnown,
    accept: (socket, origin) => new Connection(socket, origin, connectionDeps),
    isFull: () => isDraining || hub.connections.size >= limits.connections,
    onRefused: (reason) => {
      metrics.refusedUpgrade(reason);
    },
    answer: (path) => answerHealth(path, () => readReadiness(options, parts, isDraining), options),
  });
  const deadlines = setInterval(() => {
    checkDeadlines(hub.connections, limits, Date.now());
  }, limits.deadlineCheckMs);
  return {
    port: server.port,
    async close() {
      isDraining = true;
      server.stopAccepting();
      clearInterval(deadlines);
      origins.close();
      await drain(hub.connections, limits.drainMs);
      parts.check.stop();
      parts.heartbeat.stop();
      await new Promise((resolve) => setTimeout(resolve, LAST_FRAME_MS));
      server.close();
    },
  };
}

type Parts = {
  hub: Hub<Connection>;
  live: RedisSubscriptions;
  metrics: RealtimeMetrics;
  deps: ConnectDeps;
  check: AntiEntropy;
  heartbeat: Heartbeat;
};

/** Puts together what happens between Redis and the sockets. */
function assemble(options: RealtimeOptions): Parts {
  const { limits, log, redis, policy } = options;
  const metrics = new RealtimeMetrics(options.metrics);
  const live = new RedisSubscriptions(options.subscriber, (channel, text) => {
    if (channel === heartbeat.channel) heartbeat.receive(text, metrics);
    else deliver(delivery, channel, text);
  });
  const hub = new Hub<Connection>(live);
  const streams = new Streams({ db: options.db, redis });
  const catchUp = new CatchUp({ hub, streams, metrics, log });
  const { ordersAtWork, ordersWaiting, orderWaitMs, connectsAtWork, connectsWaiting, connectWaitMs } = limits;
  const controlMessages = new ControlMessages(
    () => deps,
    new Semaphore({ atWork: ordersAtWork, waiting: ordersWaiting, waitMs: orderWaitMs }),
  );
  const semaphore = new Semaphore({
    atWork: connectsAtWork,
    waiting: connectsWaiting,
    waitMs: connectWaitMs,
  });
  const onDoubt = (connection: Connection) => {
    controlMessages.reviewInBackground(connection);
  };
  const { version } = options;
  const deps: ConnectDeps = {
    hub,
    live,
    streams,
    catchUp,
    limits,
    metrics,
    policy,
    semaphore,
    log,
    version,
    onDoubt,
  };
  const check = new AntiEntropy(
    { hub, streams, catchUp, controlMessages, policy, log },
    limits.positionCheckMs,
  );
  const suspect = (topic: Topic) => {
    check.suspect(topic);
  };
  const delivery: DeliverDeps = { hub, catchUp, controlMessages, metrics, log, suspect };
  const onForgotten = () => {
    check.request();
  };
  const heartbeat = new Heartbeat(redis, live, {
    everyMs: limits.probeMs,
    maxSilenceMs: limits.probeSilenceMs,
    onForgotten,
  });
  live.onRestored = onForgotten;
  registerHubGauges(options.metrics, hub, live);
  return { hub, live, metrics, deps, check, heartbeat };
}

function createConnectionDeps(
  { limits, log }: RealtimeOptions,
  { hub, metrics, deps }: Parts,
): ConnectionDeps {
  return {
    hub,
    flusher: new Flusher(),
    limits,
    codec: { parseFrame },
    run: (connection, waiting) => runCommands(deps, connection, waiting),
    onClosed: (connection, close, isOurs) => {
      metrics.closed(close.code);
      log.debug({ connection: connection.id, code: close.code, isOurs }, "connection closed");
    },
    onRefused: ({ code }) => {
      metrics.refusedCommand(code);
    },
  };
}

async function readReadiness(
  { db, redis }: RealtimeOptions,
  { live }: Parts,
  isDraining: boolean,
): Promise<Readiness> {
  if (isDraining) return { ready: false, degraded: [], reason: "draining" };
  // Who is connected goes on hearing; letting people in waits for Postgres.
  const degraded = (await isDbUp(db)) ? [] : ["postgres"];
  if (live.isReady && redis.status === "ready") return { ready: true, degraded };
  return { ready: false, degraded, reason: "redis" };
}

function answerHealth(
  path: string,
  readiness: () => Promise<Readiness>,
  options: RealtimeOptions,
): Promise<Answer> | null {
  const type = "application/json";
  if (path === "/livez") return Promise.resolve({ status: "200 OK", type, body: '{"live":true}' });
  if (path === "/readyz") {
    return readiness().then((state) => ({
      status: state.ready ? "200 OK" : "503 Service Unavailable",
      type,
      body: JSON.stringify(state),
    }));
  }
  if (path !== "/metrics") return null;
  return options
    .readMetrics()
    .then((body) => ({ status: "200 OK", type: options.metrics.contentType, body }))
    .catch(() => ({
      status: "503 Service Unavailable",
      type: "text/plain",
      body: "metrics are not available",
    }));
}
