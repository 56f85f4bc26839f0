/** What is known of a connection's life. Times in milliseconds. */
export type Life = {
  /** When anything was last heard from the client; what is sent to it says nothing about it. */
  lastHeardAtMs: number;
  openedAtMs: number;
  /** Whether it has asked to be let in. */
  hasAsked: boolean;
  /** When its token expires; null until the connection is let in. */
  expiresAtMs: number | null;
  nextPingAtMs: number;
};

/** Those from whom nothing was heard for longer than `maxSilenceMs`. */
export function silentConnections<C extends { lastHeardAtMs: number }>(
  connections: Iterable<C>,
  { nowMs, maxSilenceMs }: { nowMs: number; maxSilenceMs: number },
): C[] {
  return [...connections].filter(({ lastHeardAtMs }) => nowMs - lastHeardAtMs > maxSilenceMs);
}

/** What the clock asks of a connection that is not silent. `stale` is the client's fault, `unanswered` is ours. */
export type Due = "nothing" | "ping" | "expired" | "stale" | "unanswered";

export function decideDue(
  life: Life,
  limits: { authenticateMs: number; expiredMs: number },
  nowMs: number,
): Due {
  if (life.expiresAtMs === null) {
    if (nowMs - life.openedAtMs <= limits.authenticateMs) return "nothing";
    return life.hasAsked ? "unanswered" : "stale";
  }
  if (nowMs - life.expiresAtMs > limits.expiredMs) return "expired";
  return nowMs >= life.nextPingAtMs ? "ping" : "nothing";
}

/** When a connection is first pinged: spread over half the interval, so that a mass reconnect does not beat in time. */
export function firstPingAtMs(nowMs: number, pingMs: number, chance: number): number {
  return nowMs + pingMs / 2 + (chance * pingMs) / 2;
}
