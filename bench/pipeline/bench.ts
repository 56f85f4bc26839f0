import type { Accept } from "../../api/accept/accept-batcher.ts";
import { createAccept } from "../../api/accept/accept.ts";
import { createAfterCommit } from "../../api/after-commit/after-commit.ts";
import { createApiMetrics } from "../../api/metrics.ts";
import { migrateUp } from "../../migrations/index.ts";
import { openDb, type Db } from "../../shared/db/connection/open.ts";
import { createLog } from "../../shared/platform/log.ts";
import { createMetrics } from "../../shared/platform/metrics.ts";
import { closeRedis, openRedis, waitForRedis, type Redis } from "../../shared/platform/redis.ts";
import { closeQueues, createWake, openQueues } from "../../shared/queues/open.ts";
import type { Usage } from "./children.ts";
import { countRedisCommands } from "./count-commands.ts";
import { createFixture, type Fixture } from "./fixture.ts";

export const ROOMS = 200;

/** What every measurement uses. */
export type Bench = {
  db: Db;
  redis: Redis;
  accept: Accept;
  fixture: Fixture;
  databaseUrl: string;
  redisUrl: string;
  messages: number;
  /** What this process has sent to the servers. */
  usage: () => Usage;
};

/** Opens a database and a Redis database that are empty, with the api's code on them, and closes both afterwards. */
export async function withBench(
  { databaseUrl, redisUrl, messages }: Pick<Bench, "databaseUrl" | "redisUrl" | "messages">,
  work: (bench: Bench) => Promise<void>,
): Promise<void> {
  const commands = countRedisCommands();
  const log = createLog({ level: "warn", tier: "bench" });
  const db = openDb({ url: databaseUrl, name: "bench-api", max: 16 });
  await migrateUp(db);
  await db.raw(
    "create table bare (id bigserial primary key, room text not null, content jsonb not null, at timestamptz not null default now())",
  );
  let statements = 0;
  db.on("query", () => {
    statements++;
  });
  const redis = openRedis(redisUrl, log, "bench-api");
  await waitForRedis(redis, 5_000);
  await redis.flushdb();
  const queues = openQueues(redis, log);
  const metrics = createApiMetrics(createMetrics());
  const wake = createWake(queues, metrics.wakeFailures);
  const afterCommit = createAfterCommit({ db, redis, wake, log, metrics });
  const accept = createAccept({ db, afterCommit, now: Date.now }, () => undefined);
  try {
    await work({
      db,
      redis,
      accept,
      fixture: await createFixture(db, ROOMS),
      databaseUrl,
      redisUrl,
      messages,
      usage: () => ({ statements, commands: commands() }),
    });
  } finally {
    await afterCommit.drain();
    await redis.flushdb();
    await closeQueues(queues);
    closeRedis(redis);
    await db.destroy();
  }
}
