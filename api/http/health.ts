import type { Readiness } from "../../shared/platform/http/health.ts";
import type { Registry } from "../../shared/platform/metrics.ts";
import type { ProblemWatch } from "../../shared/platform/problems/problems.ts";
import type { Page } from "./page.ts";

/** `/livez`, `/readyz` and `/metrics`. Only Postgres is needed to be ready: without Redis the sweepers find the work. */
export function healthPages(deps: {
  problems: Pick<ProblemWatch, "read">;
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
  problems,
  isClosing,
}: {
  problems: Pick<ProblemWatch, "read">;
  isClosing: () => boolean;
}): Promise<Readiness> {
  const degraded = await problems.read();
  if (isClosing()) return { ready: false, degraded, reason: "stopping" };
  const isPostgresDown = degraded.some(({ code }) => code === "postgres_down");
  return isPostgresDown
    ? { ready: false, degraded, reason: "postgres does not answer" }
    : { ready: true, degraded };
}
