import { CLOSE } from "../protocol/codes.ts";
import type { Connection } from "./connection.ts";
import { decideDue, silentConnections } from "./idle.ts";
import type { Limits } from "../limits.ts";

/**
 * Does what the clock asks: pings, and closes whom nothing was heard from, who lapsed, who never said who they are, and
 * whom we could not let in in time.
 */
export function checkDeadlines(connections: ReadonlySet<Connection>, limits: Limits, nowMs: number): void {
  // Every ping asks for an answer, so a live client is heard from once an interval.
  const maxSilenceMs = limits.pingMs + limits.pongMs;
  for (const silent of silentConnections(connections, { nowMs, maxSilenceMs })) silent.close(CLOSE.noPong);
  for (const connection of [...connections]) {
    const due = decideDue(connection, limits, nowMs);
    if (due === "ping") connection.ping(nowMs);
    else if (due === "expired") connection.close(CLOSE.expired);
    else if (due === "stale") connection.close(CLOSE.stale);
    else if (due === "unanswered") connection.close(CLOSE.internal);
  }
}
