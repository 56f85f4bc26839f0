/** Keys that one query answers at most. */
const MAX_KEYS = 100;

type Asked<V> = {
  promise: Promise<V | undefined>;
  resolve: (value: V | undefined) => void;
  reject: (error: unknown) => void;
};

/**
 * Puts what many ask at once into one question: at most `atOnce` are open, and whatever comes meanwhile waits for the
 * next and is answered by what is read after it was asked. A key without an answer is undefined.
 */
export function createBatcher<V>(
  atOnce: number,
  load: (keys: string[]) => Promise<ReadonlyMap<string, V>>,
): (key: string) => Promise<V | undefined> {
  const waiting = new Map<string, Asked<V>>();
  let running = 0;

  const runNext = async () => {
    const batch = [...waiting].slice(0, MAX_KEYS);
    for (const [key] of batch) waiting.delete(key);
    running += 1;
    try {
      const answers = await load(batch.map(([key]) => key));
      for (const [key, asked] of batch) asked.resolve(answers.get(key));
    } catch (error) {
      for (const [, asked] of batch) asked.reject(error);
    } finally {
      running -= 1;
      start();
    }
  };
  const start = () => {
    while (waiting.size > 0 && running < atOnce) void runNext();
  };
  return (key) => {
    const known = waiting.get(key);
    if (known) return known.promise;
    const asked = createAsked<V>();
    waiting.set(key, asked);
    // What is asked in the same turn goes along.
    if (waiting.size === 1) setImmediate(start);
    return asked.promise;
  };
}

function createAsked<V>(): Asked<V> {
  let resolve: Asked<V>["resolve"] = () => undefined;
  let reject: Asked<V>["reject"] = () => undefined;
  const promise = new Promise<V | undefined>((accept, refuse) => {
    resolve = accept;
    reject = refuse;
  });
  return { promise, resolve, reject };
}
