import { errorText } from "../../shared/contract/errors.ts";
import type { JobResult, WorkerContext } from "./context.ts";
import { isLasting, MatrixFailure } from "../matrix/http/failure.ts";
import { backoffMs } from "../outbound/retry.ts";

/** What time alone does not repair is retried so often, and shown as failed meanwhile. */
const LASTING_DELAY_MS = 60_000;

/**
 * What is recorded with the row after a failure. `attempts`: failed attempts in a row. A 429 is none, so that
 * `resume-after-outage.ts` keeps the delay that the homeserver asked for.
 */
export type RescheduledFailure = { delayMs: number; attempts: number; error: string; failed: boolean };

/**
 * Runs converging work. After a MatrixFailure, `reschedule` records when the row is due again, and the job is delayed
 * until then. Any other error is thrown.
 */
export async function convergeOrReschedule(
  context: WorkerContext,
  attempts: number,
  work: () => Promise<JobResult>,
  reschedule: (failure: RescheduledFailure) => Promise<void>,
): Promise<JobResult> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof MatrixFailure)) throw error;
    const failed = isLasting(error.kind, attempts);
    const delayMs = Math.max(
      backoffMs({ attempts, retryAfterMs: error.retryAfterMs }, context.chance()),
      failed ? LASTING_DELAY_MS : 0,
    );
    const failedAttempts = error.kind === "limited" ? 0 : attempts + 1;
    await reschedule({ delayMs, attempts: failedAttempts, error: errorText(error), failed });
    context.log.warn({ err: error, delayMs }, "rescheduled");
    return { retryInMs: delayMs };
  }
}
