import { findPostgresProblems } from "../../../shared/db/connection/postgres-problems.ts";
import type { Db } from "../../../shared/db/connection/open.ts";
import { problemsOfHomeservers } from "../../../shared/db/homeservers/homeserver-problems.ts";
import type { Readiness } from "../../../shared/platform/http/health.ts";
import type { FoundProblem, Problem } from "../../../shared/platform/problems/problems.ts";
import { createRedisCheck } from "../../../shared/platform/problems/redis-problems.ts";
import type { Redis } from "../../../shared/platform/redis.ts";
import type { HomeserverPool } from "../../matrix/homeserver/pool.ts";

/** Returns a look at everything that a worker process needs. It never fails. */
export function createWorkerLook(deps: {
  db: Db;
  redis: Redis;
  homeservers: Pick<HomeserverPool, "statuses">;
}): () => Promise<FoundProblem[]> {
  const findRedisProblems = createRedisCheck(deps.redis);
  return async () => {
    const found = await Promise.all([findPostgresProblems(deps.db), findRedisProblems()]);
    return [
      ...found.flat(),
      ...problemsOfHomeservers(deps.homeservers.statuses().map(([, status]) => status)),
    ];
  };
}

const NEEDED_BY_JOBS: ReadonlySet<string> = new Set([
  "postgres_down",
  "redis_down",
  "redis_read_only",
  "redis_full",
]);

/** Jobs need Postgres, and a Redis that takes writes. Without a homeserver they are ready: another process has none either. */
export function jobsReadiness(problems: readonly Problem[]): Readiness {
  const isReady = !problems.some(({ code, severity }) => severity === "critical" && NEEDED_BY_JOBS.has(code));
  return { ready: isReady, degraded: problems };
}

/** Longer than one long poll. */
const MAX_SILENCE_MS = 40_000;

/** Not ready when an observer read nothing for 40 s although the homeserver responds: the fault is in this process. */
export function syncReadiness(problems: readonly Problem[], silentForMs: number): Readiness {
  const has = (code: Problem["code"]) => problems.some((problem) => problem.code === code);
  if (has("postgres_down")) return { ready: false, degraded: problems };
  const isItsFault =
    silentForMs > MAX_SILENCE_MS && !has("homeserver_down") && !has("homeserver_refuses_token");
  if (!isItsFault) return { ready: true, degraded: problems };
  const reason = "no /sync succeeded for 40 s though the homeserver answers";
  return { ready: false, degraded: problems, reason };
}
