import { errorText } from "../../shared/contract/errors.ts";
import type { Log } from "../../shared/platform/log.ts";
import type { OpenTransport } from "./transport.ts";
import { loadUws } from "./uws.ts";
import { openWs } from "./ws.ts";

/**
 * The transport that TRANSPORT names. `auto` is uws, or ws where the native library of uws does not load.
 * @throws when uws is named and does not load, and when several processes would have to share the port of ws.
 */
export async function loadTransport(
  wanted: "auto" | "uws" | "ws",
  { processes, log, load = loadUws }: { processes: number; log: Log; load?: () => Promise<OpenTransport> },
): Promise<OpenTransport> {
  if (wanted === "ws") return requireOneProcess(processes, "TRANSPORT is ws");
  try {
    return await load();
  } catch (error) {
    const reason = errorText(error);
    if (wanted === "uws")
      throw new Error(`TRANSPORT is uws, but uWebSockets.js does not load: ${reason}`, { cause: error });
    const open = requireOneProcess(
      processes,
      `uWebSockets.js does not load (${reason}), so the transport is ws`,
    );
    log.warn({ reason }, "uWebSockets.js does not load: the transport is ws, which is slower");
    return open;
  }
}

function requireOneProcess(processes: number, why: string): OpenTransport {
  if (processes > 1)
    throw new Error(`${why}, which cannot share its port: REALTIME_PROCESSES must be 1, not ${processes}`);
  return openWs;
}
