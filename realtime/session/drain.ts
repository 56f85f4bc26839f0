import { CLOSE, type Close } from "../protocol/codes.ts";

const STEP_MS = 100;

/** How many of `count` are closed at each step, so that the last one is closed before the window ends. */
export function batchSize(count: number, windowMs: number): number {
  return Math.max(1, Math.ceil(count / Math.max(1, Math.floor(windowMs / STEP_MS))));
}

/** Closes every connection, spread over the window, so that the clients do not all reconnect at once. */
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
