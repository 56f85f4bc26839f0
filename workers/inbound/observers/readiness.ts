import type { Readiness } from "../../../shared/platform/health.ts";
import { isDbUp } from "../../../shared/db/connection/open.ts";
import type { WorkerContext } from "../../runtime/context.ts";
import { createConnection } from "../../matrix/http/client.ts";
import type { Observers } from "./observers.ts";

/** Longer than one long poll. */
const MAX_SILENCE_MS = 40_000;

/** Not ready when an observer read nothing for 40 s although the homeserver responds: the fault is in this process. */
export async function syncReadiness(
  context: WorkerContext,
  observers: Observers,
  homeserverUrl: string,
): Promise<Readiness> {
  if (!(await isDbUp(context.db))) return { ready: false, degraded: ["postgres"] };
  if (observers.silentForMs() <= MAX_SILENCE_MS) return { ready: true, degraded: [] };
  return (await isHomeserverUp(homeserverUrl))
    ? { ready: false, degraded: [], reason: "no /sync succeeded for 40 s though the homeserver answers" }
    : { ready: true, degraded: ["homeserver"] };
}

async function isHomeserverUp(baseUrl: string): Promise<boolean> {
  const request = createConnection({ baseUrl, accessToken: null })({});
  const call = { method: "GET", prefix: "/_matrix/client", path: "/versions", timeoutMs: 2_000 } as const;
  return request(call).then(
    () => true,
    () => false,
  );
}
