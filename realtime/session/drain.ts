import { CLOSE, type Close } from "../protocol/codes.ts";

const STEP_MS = 100;

/** How many of `count` are closed at each step, so that the last goes before the window ends. */
export function batchSize(count: number, windowMs: number): number {
  return Math.max(1, Math.ceil(count / Math.max(1, Math.floor(windowMs / STEP_MS))));
}

/** Sends everybody to another process, spread over the window: who comes back does not come back with all the others. */
export async function drain(
  connections: ReadonlySet<{ close(close: Close): void }>,
  windowMs: number,
): Promise<void> {
  const size = batchSize(connections.size, windowMs);
  while (connections.size > 0) {
    for (const connection of [...connections].slice(0, size)) connection.close(CLOSE.shutdown);
    if (connections.size > 0) await new Promise((resolve) => setTimeout(resolve, STEP_MS));
  }
}
