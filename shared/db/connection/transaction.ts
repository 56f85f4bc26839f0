import { AppError } from "../../contract/errors.ts";
import { isRepeatable } from "./failures.ts";
import type { Db } from "./open.ts";

const ATTEMPTS = 5;
const RETRY_AFTER_MS = 1_000;

/** What a transaction throws when it finds that it must begin again with a fresh view. */
export class StaleView extends Error {}

/**
 * Runs work in a transaction; begins again, five times at most, after a deadlock, a doubled insert or a `StaleView`.
 * The work must do nothing outside the transaction.
 * @throws AppError `unavailable` when the last of them fails so too: others change the same all the time.
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
