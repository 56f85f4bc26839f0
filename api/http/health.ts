import { isDbUp, type Db } from "../../shared/db/connection/open.ts";
import type { Readiness } from "../../shared/platform/health.ts";
import type { Registry } from "../../shared/platform/metrics.ts";
import type { Redis } from "../../shared/platform/redis.ts";
import type { Page } from "./page.ts";

/** `/livez`, `/readyz` and `/metrics`. Only Postgres is needed to be ready: without Redis the sweepers find the work. */
export function healthPages(deps: {
  db: Db;
  redis: Redis;
  metrics: Registry;
  isClosing: () => boolean;
}): Page[] {
  return [
    { path: "/livez", handler: (_request, response) => void response.json({ live: true }) },
    {
      path: "/readyz",
      handler: async (_request, response) => {
        const readiness = await readReadiness(deps);
        response.status(readiness.ready ? 200 : 503).json(readiness);
      },
    },
    {
      path: "/metrics",
      handler: async (_request, response) => {
        response.type(deps.metrics.contentType).send(await deps.metrics.metrics());
      },
    },
  ];
}

async function readReadiness({
  db,
  redis,
  isClosing,
}: {
  db: Db;
  redis: Redis;
  isClosing: () => boolean;
}): Promise<Readiness> {
  const degraded = redis.status === "ready" && (await isRedisUp(redis)) ? [] : ["redis"];
  if (isClosing()) return { ready: false, degraded, reason: "stopping" };
  return (await isDbUp(db))
    ? { ready: true, degraded }
    : { ready: false, degraded, reason: "postgres does not answer" };
}

function isRedisUp(redis: Redis): Promise<boolean> {
  return redis.ping().then(
    () => true,
    () => false,
  );
}
