import type { Db } from "../shared/db/connection/open.ts";
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
  const streams = new Streams({ db: options.db, redis });
  const catchUp = new CatchUp({ hub, streams, metrics, log });
  const { reviewsAtWork, reviewsWaiting, reviewWaitMs, connectsAtWork, connectsWaiting, connectWaitMs } =
    limits;
  const controlMessages = new ControlMessages(
    () => deps,
    new Semaphore({ atWork: reviewsAtWork, waiting: reviewsWaiting, waitMs: reviewWaitMs }),
  );
  const deps: ConnectDeps = {
    ...{ hub, live, streams, catchUp, limits, metrics, policy, log, version },
    semaphore: new Semaphore({ atWork: connectsAtWork, waiting: connectsWaiting, waitMs: connectWaitMs }),
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
  return { hub, live, metrics, deps, antiEntropy, heartbeat };
}
