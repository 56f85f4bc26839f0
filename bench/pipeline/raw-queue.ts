import { Queue, Worker } from "bullmq";
import type { Log } from "../../shared/platform/log.ts";
import { asConnection } from "../../shared/queues/open.ts";
import { closeRedis, openWorkerRedis, type Redis } from "../../shared/platform/redis.ts";

const NAME = "raw";
const PREFIX = "{bench-raw}";

/** BullMQ alone at full speed: the upper bound of a design with a job per message. */
export function runRawWorker(redisUrl: string, log: Log): () => Promise<void> {
  const redis = openWorkerRedis(redisUrl, log, "bench-raw");
  const worker = new Worker(NAME, () => Promise.resolve(null), {
    connection: asConnection(redis),
    prefix: PREFIX,
    concurrency: 50,
  });
  worker.on("error", (error) => {
    log.warn({ err: error }, "raw worker");
  });
  return async () => {
    await worker.close();
    closeRedis(redis);
  };
}

export type RawQueue = {
  add: (data: unknown) => Promise<void>;
  completed: () => Promise<number>;
  clear: () => Promise<void>;
  close: () => Promise<void>;
};

export function openRawQueue(redis: Redis): RawQueue {
  const queue = new Queue(NAME, { connection: asConnection(redis), prefix: PREFIX });
  return {
    add: async (data) => {
      await queue.add(NAME, data, { removeOnComplete: 100_000, attempts: 5 });
    },
    completed: () => queue.getCompletedCount(),
    clear: () => queue.obliterate({ force: true }),
    close: () => queue.close(),
  };
}
