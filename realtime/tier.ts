import type { Db } from "../shared/db/open.ts";
import { isDbUp } from "../shared/db/open.ts";
import type { Readiness } from "../shared/health.ts";
import type { Log } from "../shared/log.ts";
import type { Registry } from "../shared/metrics.ts";
import type { Redis } from "../shared/redis.ts";
import { CatchUp } from "./catch-up.ts";
import { CLOSE } from "./codes.ts";
import { runCommands } from "./commands.ts";
import type { ConnectDeps } from "./connect.ts";
import { Connection, type ConnectionDeps } from "./connection.ts";
import { deliver, type DeliverDeps } from "./deliver.ts";
import { drain } from "./drain.ts";
import { Figures, watchHub } from "./figures.ts";
import { Gate } from "./gate.ts";
import { Hub } from "./hub.ts";
import type { Limits } from "./limits.ts";
import { Orders } from "./orders.ts";
import { Flusher } from "./outbound-queue.ts";
import type { Policy } from "./policy.ts";
import { PositionCheck } from "./position-check.ts";
import { Probe } from "./probe.ts";
import { parseFrame } from "./protocol.ts";
import { RedisLive } from "./redis-live.ts";
import { openServer, type Answer } from "./server.ts";
import { Streams } from "./streams.ts";
import { sweep } from "./sweep.ts";

export type TierOptions = {
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
export async function openTier(options: TierOptions): Promise<Tier> {
  const { limits, log, redis, policy } = options;
  const figures = new Figures(options.metrics);
  const flusher = new Flusher();
  const live = new RedisLive(options.subscriber, (channel, text) => {
    if (channel === probe.channel) probe.receive(text, figures);
    else deliver(delivery, channel, text);
  });
  const hub = new Hub<Connection>(live);
  const streams = new Streams({ db: options.db, redis });
  const catchUp = new CatchUp({ hub, streams, figures, log });
  const orders = new Orders(
    () => deps,
    new Gate({ atWork: limits.ordersAtWork, waiting: limits.ordersWaiting, waitMs: limits.orderWaitMs }),
  );
  const gate = new Gate({
    atWork: limits.connectsAtWork,
    waiting: limits.connectsWaiting,
    waitMs: limits.connectWaitMs,
  });
  const onDoubt = (connection: Connection) => {
    orders.reviewSoon(connection);
  };
  const deps: ConnectDeps = {
    hub,
    live,
    streams,
    catchUp,
    limits,
    figures,
    policy,
    gate,
    log,
    version: options.version,
    onDoubt,
  };
  const check = new PositionCheck({ hub, streams, catchUp, orders, policy, log }, limits.positionCheckMs);
  const delivery: DeliverDeps = {
    hub,
    catchUp,
    orders,
    figures,
    suspect: (topic) => {
      check.suspect(topic);
    },
  };
  const onForgotten = () => {
    check.request();
  };
  const probe = new Probe(redis, live, {
    everyMs: limits.probeMs,
    maxSilenceMs: limits.probeSilenceMs,
    onForgotten,
  });
  live.onRestored = onForgotten;
  watchHub(options.metrics, hub, live);

  const connectionDeps: ConnectionDeps = {
    hub,
    flusher,
    limits,
    codec: { parseFrame },
    run: (connection, waiting) => runCommands(deps, connection, waiting),
    onClosed: (connection, close, isOurs) => {
      figures.closed(close.code);
      log.debug({ connection: connection.id, code: close.code, isOurs }, "connection closed");
    },
    onRefused: ({ code }) => {
      figures.refusedCommand(code);
    },
  };
  let isDraining = false;
  const readiness = async (): Promise<Readiness> => {
    if (isDraining) return { ready: false, degraded: [], reason: "draining" };
    const isLive = live.isReady && redis.status === "ready";
    // Who is connected goes on hearing; letting people in waits for Postgres.
    const degraded = (await isDbUp(options.db)) ? [] : ["postgres"];
    return isLive ? { ready: true, degraded } : { ready: false, degraded, reason: "redis" };
  };
  const server = await openServer({
    port: options.port,
    isShared: options.isSharedPort,
    limits,
    allowedOrigins: options.allowedOrigins,
    accept: (socket) => new Connection(socket, connectionDeps),
    isFull: () => isDraining || hub.connections.size >= limits.connections,
    onRefused: (reason) => {
      figures.refusedUpgrade(reason);
    },
    answer: (path) => answerHealth(path, readiness, options),
  });
  const sweeping = setInterval(() => {
    sweep(hub.connections, limits, Date.now());
  }, limits.sweepMs);
  return {
    port: server.port,
    async close() {
      isDraining = true;
      server.stopAccepting();
      clearInterval(sweeping);
      await drain(hub.connections, limits.drainMs);
      check.stop();
      probe.stop();
      await new Promise((resolve) => setTimeout(resolve, LAST_FRAME_MS));
      for (const connection of hub.connections) connection.close(CLOSE.shutdown);
      server.close();
    },
  };
}

function answerHealth(
  path: string,
  readiness: () => Promise<Readiness>,
  options: TierOptions,
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
