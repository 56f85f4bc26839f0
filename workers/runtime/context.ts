import type { Db } from "../../shared/db/connection/open.ts";
import type { HitFailpoint } from "../../shared/platform/failpoints.ts";
import type { Log } from "../../shared/platform/log.ts";
import type { Wake } from "../../shared/queues/open.ts";
import type { Redis } from "../../shared/platform/redis.ts";
import type { Homeserver } from "../matrix/homeserver/homeserver.ts";
import type { WorkerMetrics } from "./metrics.ts";
import type { RunningConsumer } from "../consumers/deliver.ts";
import type { AdaptiveBatchSize } from "../outbound/adaptive-batch-size.ts";
import type { TenantSemaphore } from "../outbound/tenant-semaphore.ts";

/** What every handler works with. */
export type WorkerContext = {
  db: Db;
  redis: Redis;
  wake: Wake;
  /** The homeserver of a tenant's rooms and accounts, by its row id. */
  homeserver: (homeserverId: string) => Promise<Homeserver>;
  /** The timeline consumers that this process runs. */
  consumers: readonly RunningConsumer[];
  metrics: WorkerMetrics;
  log: Log;
  /** Aborted when the process is asked to stop: loops end at the next safe place. */
  stopping: AbortSignal;
  /** Whether observers read the homeserver's stream of events: see MATRIX_READ. */
  readsStream: boolean;
  /** Keeps one tenant's busy rooms from taking every place of the way out. */
  outboundSemaphore: TenantSemaphore;
  /** How much of a room is sent before it is marked. */
  outboundBatchSize: AdaptiveBatchSize;
  /** A number in [0, 1), so that chance can be an argument. */
  chance: () => number;
  /** Marks the places where tests kill. */
  hitFailpoint: HitFailpoint;
};

/** What a handler tells of its work: `retryInMs` when it is due again later, as Postgres knows too. */
export type JobResult = { retryInMs: number | null };

export const DONE: JobResult = { retryInMs: null };
