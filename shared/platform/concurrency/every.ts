/** Repeated work. `stop` starts no further run and resolves when the current run has ended. */
export type Repeating = { stop: () => Promise<void> };

/**
 * Runs `work` every `everyMs`; the first run starts after `everyMs`.
 *
 * Invariants:
 * - At most one run at a time: a tick during a run is skipped, not made up for.
 * - A run that fails reports to `onError`; the next tick runs again.
 * - The timer does not keep the process alive.
 *
 * Limits: a run that never ends stops the repetition and makes `stop` wait for ever, so `work` needs a time limit of
 * its own. `onError` must not throw.
 */
export function every(
  everyMs: number,
  work: () => Promise<void> | void,
  onError: (error: unknown) => void,
): Repeating {
  let running: Promise<void> | null = null;
  const attempt = async (): Promise<void> => {
    try {
      await work();
    } catch (error) {
      onError(error);
    }
  };
  const timer = setInterval(() => {
    if (running) return;
    running = attempt().finally(() => {
      running = null;
    });
  }, everyMs).unref();
  return {
    stop: async () => {
      clearInterval(timer);
      await running;
    },
  };
}
