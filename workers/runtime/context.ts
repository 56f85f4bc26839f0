import type { Db } from "../../shared/db/connection/open.ts";
import type { HitFailpoint } from "../../shared/platform/failpoints.ts";
import type { Log } from "../../shared/platform/log.ts";
import type { Wake } from "../../shared/queues/open.ts";
import type { Redis } from "../../shared/platform/redis.ts";
import type { Homeserver } from "../matrix/homeserver/homeserver.ts";
import type { NewRoomVersion } from "../matrix/homeserver/room-versions.ts";
import type { WorkerMetrics } from "./metrics.ts";
import type { SentPublisher } from "../outbound/sent-publisher.ts";
import type { RunningConsumer } from "../consumers/deliver.ts";
import type { AdaptiveBatchSize } from "../outbound/adaptive-batch-size.ts";
import type { RecentSends } from "../outbound/recent-sends.ts";

/** What every handler works with. */
export type WorkerContext = {
  db: Db;
  redis: Redis;
  wake: Wake;
  /** The version in which a homeserver's new rooms are created. */
  newRoomVersion: NewRoomVersion;
  /**
   * The homeserver of a tenant's rooms and accounts, by its row id. With a tenant, its calls that change accounts and
   * rooms take turns with those of other tenants; a job's context has the tenant of the job.
   */
  homeserver: (homeserverId: string, tenantId?: string) => Promise<Homeserver>;
  /** The timeline consumers that this process runs. */
  consumers: readonly RunningConsumer[];
  metrics: WorkerMetrics;
  log: Log;
  /** Aborted when the process is asked to stop: loops end at the next safe place. */
  stopping: AbortSignal;
  /** Whether observers read the homeserver's stream of events: see MATRIX_READ. */
  readsStream: boolean;
  /** Whether other work may wait for the slot of the job that runs. */
  isContended: () => boolean;
  /** How many messages of a room are claimed and sent before they are marked. */
  outboundBatchSize: AdaptiveBatchSize;
  /** Whether a homeserver takes the messages of other rooms while one of a room fails. */
  recentSends: RecentSends;
  /** Publishes how far Matrix has rooms, after messages of theirs were seen or died. */
  sent: Pick<SentPublisher, "add">;
  /** Returns a random number in [0, 1). */
  chance: () => number;
  hitFailpoint: HitFailpoint;
};

/** The result of a handler. `retryInMs`: the job is due again after this, as Postgres says too; null when it is done. */
export type JobResult = { retryInMs: number | null };

export const DONE: JobResult = { retryInMs: null };
