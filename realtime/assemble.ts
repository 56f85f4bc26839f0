import type { Db } from "../shared/db/connection/open.ts";
import { FairQueue } from "../shared/platform/concurrency/fair-queue.ts";
import { Semaphore } from "../shared/platform/concurrency/semaphore.ts";
import type { Log } from "../shared/platform/log.ts";
import type { Registry } from "../shared/platform/metrics.ts";
import type { Redis } from "../shared/platform/redis.ts";
import { Heartbeat } from "./broker/heartbeat.ts";
import { RedisSubscriptions } from "./broker/redis-subscriptions.ts";
import { AntiEntropy } from "./channels/anti-entropy.ts";
import { CatchUp } from "./channels/catch-up.ts";
import { deliver } from "./channels/deliver.ts";
import { Hub } from "./channels/hub.ts";
import { Streams } from "./channels/streams.ts";
import type { Limits } from "./limits.ts";
import { RealtimeMetrics } from "./metrics.ts";
import { PresenceChanges } from "./presence/presence-changes.ts";
import { Presence } from "./presence/presence.ts";
import { sendControlMessage } from "../shared/timeline/user-stream.ts";
import { CLOSE } from "./protocol/codes.ts";
import { AddressQuota } from "./quotas/address-quota.ts";
import { SocketQuotas } from "./quotas/socket-quotas.ts";
import { ControlMessages } from "./policy/control-messages.ts";
import type { Policy } from "./policy/policy.ts";
import type { ConnectDeps } from "./session/connect.ts";
import type { Connection } from "./session/connection.ts";

export type AssembleOptions = {
  limits: Limits;
  version: string;
  db: Db;
  redis: Redis;
  /** A connection of its own: it subscribes and sends no other commands. */
  subscriber: Redis;
  policy: Policy;
  metrics: Registry;
  log: Log;
};

export type Parts = {
  hub: Hub<Connection>;
  live: RedisSubscriptions;
  metrics: RealtimeMetrics;
  deps: ConnectDeps;
  antiEntropy: AntiEntropy;
  heartbeat: Heartbeat;
  presence: Presence;
  quotas: SocketQuotas;
  addresses: AddressQuota;
};

/**
 * Creates the parts between Redis and the sockets. Each part knows only those before it. At the end, what Redis delivers is
 * connected to them: no message arrives before.
 *
 *     commands of a socket ─▶ connect, subscribe ─▶ hub (topics), streams, catch-up
 *     a live channel ─▶ live ─▶ deliver ─▶ a topic's subscribers; or catch-up; or control messages ─▶ subscribe
 *     heartbeat, anti-entropy ─▶ catch-up, control messages
 *     hub (who came, who went) ─▶ presence ─▶ Redis
 */
export function assemble(options: AssembleOptions): Parts {
  const { limits, log, redis, policy, version } = options;
  const metrics = new RealtimeMetrics(options.metrics);
  const live = new RedisSubscriptions(options.subscriber);
  const changes = new PresenceChanges();
  const hub = new Hub<Connection>(live, changes);
  const streams = new Streams({ db: options.db, redis, metrics });
  const catchUp = new CatchUp({ hub, streams, metrics, log, unreadBytes: limits.queueBytes / 4 });
  const subscribing = { hub, live, streams, catchUp, limits, metrics, policy, log };
  const { reviewsAtWork, reviewsWaiting, reviewWaitMs } = limits;
  const controlMessages = new ControlMessages(
    subscribing,
    new Semaphore({ atWork: reviewsAtWork, waiting: reviewsWaiting, waitMs: reviewWaitMs }),
  );
  const antiEntropy = new AntiEntropy(
    { hub, streams, catchUp, controlMessages, policy, log },
    limits.antiEntropyMs,
  );
  const quotas = createSocketQuotas({ redis, log, metrics, leaseMs: limits.socketLeaseMs });
  const addresses = new AddressQuota(redis, limits.addressSockets);
  const deps = { ...subscribing, turns: createTurns(limits), quotas, controlMessages, version };
  const checkAll = () => {
    antiEntropy.request();
  };
  const heartbeat = new Heartbeat(redis, live, {
    everyMs: limits.heartbeatMs,
    maxSilenceMs: limits.heartbeatSilenceMs,
    onDataLost: checkAll,
  });
  const presence = new Presence({ hub, changes, redis, metrics, limits, log });
  const delivery = { hub, catchUp, controlMessages, antiEntropy, metrics, log };
  live.start({
    onMessage: (channel, text) => {
      if (channel === heartbeat.channel) heartbeat.receive(text, metrics);
      else deliver(delivery, channel, text);
    },
    onRestored: checkAll,
  });
  return { hub, live, metrics, deps, antiEntropy, heartbeat, presence, quotas, addresses };
}

/** The turns of connects over tenants and their users. */
function createTurns(limits: Limits): FairQueue {
  return new FairQueue({
    atWork: limits.connectsAtWork,
    atWorkOfGroup: limits.connectsAtWorkOfTenant,
    waiting: limits.connectsWaiting,
    waitMs: limits.connectWaitMs,
  });
}

function createSocketQuotas({
  redis,
  log,
  metrics,
  leaseMs,
}: {
  redis: Redis;
  log: Log;
  metrics: RealtimeMetrics;
  leaseMs: number;
}): SocketQuotas {
  const { code } = CLOSE.connectionLimit;
  return new SocketQuotas({
    ...{ redis, log, leaseMs },
    onOver: (quota) => {
      metrics.overQuota(quota);
    },
    // If the message is lost, the other process renews its count, and finds the socket over the limit again.
    closeElsewhere: (userId, connection) => {
      sendControlMessage(redis, userId, { kind: "close-socket", connection, code }).catch(() => undefined);
    },
  });
}
