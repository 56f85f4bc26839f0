import type { Redis } from "../platform/redis.ts";

/**
 * Removes the deduplication key KEYS[1] if its job is in none of the lists and sets after it, and what was kept for the
 * run after that job. In one step: a job that ends between two reads has released its key, or given it to the next job.
 * The lists are read from the end at which the oldest job is.
 */
const REMOVE_STALE_KEY = `
  local job = redis.call('GET', KEYS[1])
  if not job then return false end
  for index = 3, 5 do
    if redis.call('LPOS', KEYS[index], job, 'RANK', -1) then return false end
  end
  for index = 6, 8 do
    if redis.call('ZSCORE', KEYS[index], job) then return false end
  end
  redis.call('DEL', KEYS[1], KEYS[2])
  return job`;

/** Returns the job that the removed key named; null when there is no key, or its job waits, runs or is delayed. */
export async function removeStaleKey(
  redis: Redis,
  queue: { toKey: (name: string) => string },
  deduplicationId: string,
): Promise<string | null> {
  const lists = ["active", "wait", "paused"];
  const sets = ["delayed", "prioritized", "waiting-children"];
  const keys = [`de:${deduplicationId}`, `dn:${deduplicationId}`, ...lists, ...sets].map((name) =>
    queue.toKey(name),
  );
  const removed = await redis.eval(REMOVE_STALE_KEY, keys.length, ...keys);
  return typeof removed === "string" ? removed : null;
}
