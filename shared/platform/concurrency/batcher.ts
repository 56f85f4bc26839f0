/** The most keys of one batch. */
const MAX_KEYS = 100;

type Request<V> = {
  promise: Promise<V | undefined>;
  resolve: (value: V | undefined) => void;
  reject: (error: unknown) => void;
};

/**
 * Combines requests into batches. At most `atOnce` batches load at once; further requests wait for the next batch, so every
 * value is read after it was requested. Within `gatherMs` of a batch's start no other starts that is not full: many requests
 * share few batches, and one alone does not wait. A key that `load` does not return is undefined.
 */
export function createBatcher<V>(
  atOnce: number,
  load: (keys: string[]) => Promise<ReadonlyMap<string, V>>,
  { gatherMs = 0 }: { gatherMs?: number } = {},
): (key: string) => Promise<V | undefined> {
  const waiting = new Map<string, Request<V>>();
  let running = 0;
  let startedAtMs = -Infinity;
  let timer: NodeJS.Timeout | null = null;

  const runNext = async () => {
    const batch = [...waiting].slice(0, MAX_KEYS);
    for (const [key] of batch) waiting.delete(key);
    running += 1;
    startedAtMs = performance.now();
    try {
      const values = await load(batch.map(([key]) => key));
      for (const [key, request] of batch) request.resolve(values.get(key));
    } catch (error) {
      for (const [, request] of batch) request.reject(error);
    } finally {
      running -= 1;
      start();
    }
  };
  const start = () => {
    while (waiting.size > 0 && running < atOnce) {
      const pauseMs = startedAtMs + gatherMs - performance.now();
      if (waiting.size < MAX_KEYS && pauseMs > 0) {
        timer ??= setTimeout(() => {
          timer = null;
          start();
        }, pauseMs);
        return;
      }
      void runNext();
    }
  };
  return (key) => {
    const known = waiting.get(key);
    if (known) return known.promise;
    const request = createRequest<V>();
    waiting.set(key, request);
    // The requests of one turn of the event loop share a batch.
    if (waiting.size === 1) setImmediate(start);
    return request.promise;
  };
}

function createRequest<V>(): Request<V> {
  let resolve: Request<V>["resolve"] = () => undefined;
  let reject: Request<V>["reject"] = () => undefined;
  const promise = new Promise<V | undefined>((accept, refuse) => {
    resolve = accept;
    reject = refuse;
  });
  return { promise, resolve, reject };
}
