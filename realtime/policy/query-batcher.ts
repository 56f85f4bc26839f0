import { createBatcher } from "../../shared/platform/concurrency/batcher.ts";

/** Queries of one kind that run at once. */
const AT_ONCE = 2;
/** How long requests gather for the next query while there are many. A connect waits for three queries, one after the other. */
const GATHER_MS = 8;

/** Combines requests into queries. A result is shared by those requests only that came before its query began. */
export function createQueryBatcher<V>(
  load: (keys: string[]) => Promise<ReadonlyMap<string, V>>,
): (key: string) => Promise<V | undefined> {
  return createBatcher(AT_ONCE, load, { gatherMs: GATHER_MS });
}
