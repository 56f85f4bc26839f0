import { AppError } from "../../contract/errors.ts";

const MAX_WAITING = 1_000;

/** Runs work of the same key one after the other, and work of different keys at once. */
export type KeyedMutex = <T>(key: string, work: () => Promise<T>) => Promise<T>;

/**
 * A mutex for each key. Work that would wait for a row lock in Postgres waits here instead, without a connection, so
 * that one busy key leaves the connection pool to the others.
 * @throws AppError `unavailable` when 1,000 wait for one key.
 */
export function createKeyedMutex(): KeyedMutex {
  const queues = new Map<string, { last: Promise<unknown>; length: number }>();
  return async (key, work) => {
    const queue = queues.get(key) ?? { last: Promise.resolve(), length: 0 };
    if (queue.length >= MAX_WAITING) {
      throw new AppError("unavailable", "Too many changes at once. Try again.", { retryAfterMs: 1_000 });
    }
    queues.set(key, queue);
    queue.length++;
    const running = queue.last.then(work, work);
    queue.last = running;
    try {
      return await running;
    } finally {
      queue.length--;
      if (queue.length === 0) queues.delete(key);
    }
  };
}
