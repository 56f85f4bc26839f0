/** Repeated work. `stop` resolves when the run under way has ended. */
export type Repeating = { stop: () => Promise<void> };

/**
 * Runs `work` every `everyMs`, first after `everyMs`; a run that lasts longer makes the next ones wait, so that there is
 * one at a time. A failure goes to `onError` and ends nothing. Keeps no process alive.
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
