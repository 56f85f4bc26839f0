/** The times of a connection, in milliseconds. */
export type Life = {
  /** When the client last sent anything. */
  lastReceivedAtMs: number;
  openedAtMs: number;
  /** Whether it has sent its connect command. */
  hasAsked: boolean;
  /** When its token expires; null until it is connected. */
  expiresAtMs: number | null;
  nextPingAtMs: number;
};

/** The connections whose client has sent nothing for longer than `maxSilenceMs`. */
export function silentConnections<C extends { lastReceivedAtMs: number }>(
  connections: Iterable<C>,
  { nowMs, maxSilenceMs }: { nowMs: number; maxSilenceMs: number },
): C[] {
  return [...connections].filter(({ lastReceivedAtMs }) => nowMs - lastReceivedAtMs > maxSilenceMs);
}

/** What is due for a connection that is not silent. `stale`: the client did not connect; `unanswered`: we did not reply. */
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

/** When a connection is first pinged: spread over half the interval, so that a mass reconnect does not ping all at once. */
export function firstPingAtMs(nowMs: number, pingMs: number, chance: number): number {
  return nowMs + pingMs / 2 + (chance * pingMs) / 2;
}
