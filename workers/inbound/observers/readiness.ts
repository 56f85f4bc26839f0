import type { Readiness } from "../../../shared/platform/health.ts";
import { isDbUp } from "../../../shared/db/connection/open.ts";
import type { WorkerContext } from "../../runtime/context.ts";
import { createConnection } from "../../matrix/http/client.ts";
import type { Observers } from "./observers.ts";

/** Longer than one held-back answer of `/sync`. */
const SILENT_LIMIT_MS = 40_000;

/** Not ready when nothing was read for 40 s though the homeserver answers: then the fault is here. */
export async function syncReadiness(
  context: WorkerContext,
  observers: Observers,
  homeserverUrl: string,
): Promise<Readiness> {
  if (!(await isDbUp(context.db))) return { ready: false, degraded: ["postgres"] };
  if (observers.silentForMs() <= SILENT_LIMIT_MS) return { ready: true, degraded: [] };
  const request = createConnection({ baseUrl: homeserverUrl, accessToken: null })({});
  const answers = await request({
    method: "GET",
    prefix: "/_matrix/client",
    path: "/versions",
    timeoutMs: 2_000,
  }).then(
    () => true,
    () => false,
  );
  return answers
    ? { ready: false, degraded: [], reason: "no /sync succeeded for 40 s though the homeserver answers" }
    : { ready: true, degraded: ["homeserver"] };
}
