import { isRepeatable } from "./failures.ts";
import type { Db } from "./open.ts";

const ATTEMPTS = 5;

/** What a transaction throws when it finds that it must begin again with a fresh view. */
export class StaleView extends Error {}

/**
 * Runs work in a transaction; begins again, five times at most, after a deadlock, a doubled insert or a `StaleView`.
 * The work must do nothing outside the transaction.
 */
export async function transact<T>(db: Db, work: (trx: Db) => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await db.transaction(work);
    } catch (error) {
      if (attempt >= ATTEMPTS || !(error instanceof StaleView || isRepeatable(error))) throw error;
    }
  }
}
