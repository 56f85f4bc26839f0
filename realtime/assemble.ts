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
import { deliver, type DeliverDeps } from "./channels/deliver.ts";
import { Hub } from "./channels/hub.ts";
import { Streams } from "./channels/streams.ts";
import type { Limits } from "./limits.ts";
import { RealtimeMetrics } from "./metrics.ts";
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
  quotas: SocketQuotas;
  addresses: AddressQuota;
};

/** Creates the parts between Redis and the sockets. */
export function assemble(options: AssembleOptions): Parts {
  const { limits, log, redis, policy, version } = options;
  const metrics = new RealtimeMetrics(options.metrics);
  const live = new RedisSubscriptions(options.subscriber, (channel, text) => {
    if (channel === heartbeat.channel) heartbeat.receive(text, metrics);
    else deliver(delivery, channel, text);
  });
  const hub = new Hub<Connection>(live);
  const streams = new Streams({ db: options.db, redis, metrics });
  const catchUp = new CatchUp({ hub, streams, metrics, log, unreadBytes: limits.queueBytes / 4 });
  const { reviewsAtWork, reviewsWaiting, reviewWaitMs } = limits;
  const controlMessages = new ControlMessages(
    () => deps,
    new Semaphore({ atWork: reviewsAtWork, waiting: reviewsWaiting, waitMs: reviewWaitMs }),
  );
  const quotas = createSocketQuotas({ redis, log, metrics, leaseMs: limits.socketLeaseMs });
  const addresses = new AddressQuota(redis, limits.addressSockets);
  const deps: ConnectDeps = {
    ...{ hub, live, streams, catchUp, limits, metrics, policy, log, version },
    turns: new FairQueue({
      atWork: limits.connectsAtWork,
      atWorkOfGroup: limits.connectsAtWorkOfTenant,
      waiting: limits.connectsWaiting,
      waitMs: limits.connectWaitMs,
    }),
    quotas,
    onNeedsReview: (connection) => {
      controlMessages.reviewInBackground(connection);
    },
  };
  const antiEntropy = new AntiEntropy(
    { hub, streams, catchUp, controlMessages, policy, log },
    limits.antiEntropyMs,
  );
  const delivery: DeliverDeps = {
    ...{ hub, catchUp, controlMessages, metrics, log },
    suspect: (topic) => {
      antiEntropy.suspect(topic);
    },
  };
  const checkAll = () => {
    antiEntropy.request();
  };
  const heartbeat = new Heartbeat(redis, live, {
    everyMs: limits.heartbeatMs,
    maxSilenceMs: limits.heartbeatSilenceMs,
    onDataLost: checkAll,
  });
  live.onRestored = checkAll;
  return { hub, live, metrics, deps, antiEntropy, heartbeat, quotas, addresses };
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
