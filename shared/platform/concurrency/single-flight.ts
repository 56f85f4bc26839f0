/**
 * Shares runs between callers.
 *
 * Invariants:
 * - At most one run at a time, and at most one more waits.
 * - Every caller receives the result of a run that starts after its call: it sees all changes from before the call.
 *   So a caller never joins the current run; all calls during that run share the next one.
 * - A failed run fails its own callers only. The next run starts all the same.
 *
 * Limit: a run that never ends blocks all later callers, so `run` needs a time limit of its own.
 */
export function createSingleFlight<T>(run: () => Promise<T>): () => Promise<T> {
  let last: Promise<unknown> = Promise.resolve();
  let next: Promise<T> | null = null;
  return () => {
    next ??= last.then(begin, begin);
    return next;
  };
  function begin(): Promise<T> {
    next = null;
    const running = run();
    last = running;
    return running;
  }
}
