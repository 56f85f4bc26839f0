import type { Db } from "../shared/db/connection/open.ts";
import { findPostgresProblems } from "../shared/db/connection/postgres-problems.ts";
import type { Readiness } from "../shared/platform/http/health.ts";
import type { FoundProblem, ProblemWatch } from "../shared/platform/problems/problems.ts";
import { createRedisCheck } from "../shared/platform/problems/redis-problems.ts";
import type { Redis } from "../shared/platform/redis.ts";
import type { RedisSubscriptions } from "./broker/redis-subscriptions.ts";
import type { Answer } from "./transport/transport.ts";

/** Returns a look at what sockets need. It never fails. */
export function createRealtimeLook({ db, redis }: { db: Db; redis: Redis }): () => Promise<FoundProblem[]> {
  const findRedisProblems = createRedisCheck(redis);
  return async () => (await Promise.all([findPostgresProblems(db), findRedisProblems()])).flat();
}

export type ReadinessDeps = {
  redis: Redis;
  live: Pick<RedisSubscriptions, "isReady">;
  problems: Pick<ProblemWatch, "read">;
};

export async function readReadiness(
  { redis, live, problems }: ReadinessDeps,
  isDraining: boolean,
): Promise<Readiness> {
  if (isDraining) return { ready: false, degraded: [], reason: "draining" };
  // Without Postgres the connected clients still receive everything; new ones cannot connect.
  const degraded = await problems.read();
  if (live.isReady && redis.status === "ready") return { ready: true, degraded };
  return { ready: false, degraded, reason: "redis" };
}

export type HealthSources = {
  readiness: () => Promise<Readiness & { transport: string }>;
  metrics: { contentType: string; read: () => Promise<string> };
};

/** Answers `/livez`, `/readyz` and `/metrics`; null for another path. */
export function answerHealth(path: string, { readiness, metrics }: HealthSources): Promise<Answer> | null {
  const type = "application/json";
  if (path === "/livez") return Promise.resolve({ status: 200, type, body: '{"live":true}' });
  if (path === "/readyz") {
    return readiness().then((state) => ({
      status: state.ready ? 200 : 503,
      type,
      body: JSON.stringify(state),
    }));
  }
  if (path !== "/metrics") return null;
  return metrics
    .read()
    .then((body) => ({ status: 200, type: metrics.contentType, body }))
    .catch(() => ({ status: 503, type: "text/plain", body: "metrics are not available" }));
}
