import type { Load } from "../load.ts";

/** When a message reached its goal: `delivered`, every socket has it; `seen`, every socket knows that Matrix has it. */
export type Goal = "delivered" | "seen";

/** From a moment until the first message posted after it reached a goal; null when there is none. */
export function firstMs(load: Load, goal: Goal, sinceMs: number): number | null {
  const reached = reachedAt(load, goal);
  const times = load.posts
    .filter(({ askedAtMs }) => askedAtMs >= sinceMs)
    .flatMap(({ id }) => reached.get(id ?? "") ?? []);
  return times.length === 0 ? null : Math.min(...times) - sinceMs;
}

/** The longest time that a message posted between two moments took to reach a goal. */
export function longestMs(load: Load, goal: Goal, sinceMs: number, untilMs: number): number {
  const reached = reachedAt(load, goal);
  const waits = load.posts
    .filter(({ askedAtMs }) => askedAtMs >= sinceMs && askedAtMs < untilMs)
    .flatMap(({ id, askedAtMs }) => (reached.get(id ?? "") ?? askedAtMs) - askedAtMs);
  return Math.max(0, ...waits);
}

/** When the last message reached a goal. */
export function lastMs(load: Load, goal: Goal): number {
  return Math.max(...reachedAt(load, goal).values());
}

/** When each message reached a goal at the last socket. */
function reachedAt({ subscribers }: Load, goal: Goal): Map<string, number> {
  const times = new Map<string, number>();
  for (const subscriber of subscribers) {
    for (const { received, sent } of subscriber.byRoom.values()) {
      for (const { id, number, atMs } of received) {
        const seenAtMs = sent.find((one) => one.number >= number)?.atMs;
        const reachedAtMs = goal === "delivered" ? atMs : seenAtMs;
        if (reachedAtMs !== undefined) times.set(id, Math.max(times.get(id) ?? 0, reachedAtMs));
      }
    }
  }
  return times;
}
