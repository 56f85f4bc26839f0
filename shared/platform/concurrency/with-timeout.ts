/**
 * What `work` gives, or after `limitMs` what `onTimeout` returns or throws. The work goes on unobserved: a failure after
 * the limit is dropped. What arrived while this process was busy counts as in time. Keeps no process alive.
 */
export async function withTimeout<T, Late = T>(
  work: Promise<T>,
  limitMs: number,
  onTimeout: () => Late,
): Promise<T | Late> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<"late">((resolve) => {
    timer = setTimeout(() => {
      // Timers run before the sockets of the same turn are read.
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
