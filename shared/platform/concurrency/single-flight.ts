/** Runs one at a time; callers that ask meanwhile share one more run, which begins after the present one. */
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
