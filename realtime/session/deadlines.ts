import { CLOSE } from "../protocol/codes.ts";
import type { Connection } from "./connection.ts";
import { decideDue, silentConnections } from "./idle.ts";
import type { Limits } from "../limits.ts";

/** Pings the connections whose ping is due, and closes those that are silent, expired or not connected in time. */
export function checkDeadlines(connections: ReadonlySet<Connection>, limits: Limits, nowMs: number): void {
  // Every ping asks for a pong, so a live client sends something once an interval.
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
