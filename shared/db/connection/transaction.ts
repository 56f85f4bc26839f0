import { AppError } from "../../contract/errors.ts";
import { isRepeatable } from "./failures.ts";
import type { Db } from "./open.ts";

const ATTEMPTS = 5;
const RETRY_AFTER_MS = 1_000;

/** Thrown inside a transaction that must start again, because a row changed since it was read. */
export class StaleView extends Error {}

/**
 * Runs work in a transaction, and tries up to five times when it fails with a deadlock, a duplicate insert or a
 * `StaleView`. The work must have no effect outside the transaction.
 * @throws AppError `unavailable` when the last attempt fails in the same way: others change the same rows all the time.
 */
export async function transact<T>(db: Db, work: (trx: Db) => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await db.transaction(work);
    } catch (error) {
      if (!(error instanceof StaleView || isRepeatable(error))) throw error;
      if (attempt >= ATTEMPTS) throw describeContention(error);
    }
  }
}

function describeContention(cause: unknown): AppError {
  return new AppError("unavailable", "Others change the same at this moment. Try again.", {
    cause,
    retryAfterMs: RETRY_AFTER_MS,
  });
}
