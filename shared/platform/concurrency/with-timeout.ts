/**
 * Returns the result of `work`, or, after `limitMs`, what `onTimeout` returns or throws.
 *
 * Invariants:
 * - A result that arrived while this process was busy is in time: after the limit, the sockets are read once more.
 * - A failure of `work` after the limit is dropped; it is never an unhandled rejection.
 * - The timer does not keep the process alive, and is cleared when `work` ends.
 *
 * Limit: `work` itself is not stopped. It needs an `AbortSignal` or a time limit of its own to free its resources.
 */
export async function withTimeout<T, Late = T>(
  work: Promise<T>,
  limitMs: number,
  onTimeout: () => Late,
): Promise<T | Late> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<"late">((resolve) => {
    timer = setTimeout(() => {
      // The event loop runs timers before it reads sockets.
      setImmediate(() => {
        resolve("late");
      });
    }, limitMs).unref();
  });
  try {
    const first = await Promise.race([work.then((value) => ({ value })), late]);
    return first === "late" ? onTimeout() : first.value;
  } finally {
    clearTimeout(timer);
  }
}
