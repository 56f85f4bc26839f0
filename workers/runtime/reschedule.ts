import { errorText } from "../../shared/contract/errors.ts";
import type { JobResult, WorkerContext } from "./context.ts";
import { MatrixFailure, type FailureKind } from "../matrix/http/failure.ts";
import { backoffMs } from "../outbound/retry.ts";

/** Failures that time does not mend: tried again now and then, and shown as failed meanwhile. */
const STUBBORN: ReadonlySet<FailureKind> = new Set(["permanent", "forbidden", "missing", "conflict", "auth"]);
const STUBBORN_DELAY_MS = 60_000;

/**
 * What is kept with the row. `attempts`: failed tries in a row; being asked to wait is none, so that nobody takes such
 * a wait for one that a silent homeserver caused.
 */
export type Rescheduling = { delayMs: number; attempts: number; error: string; failed: boolean };

/**
 * Runs converging work; an expected failure is kept with the row (`remember`) and the job goes to that time. Anything
 * else is thrown on.
 */
export async function convergeOrReschedule(
  context: WorkerContext,
  attempts: number,
  work: () => Promise<JobResult>,
  remember: (postponement: Rescheduling) => Promise<void>,
): Promise<JobResult> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof MatrixFailure)) throw error;
    const failed = STUBBORN.has(error.kind);
    const delayMs = Math.max(
      backoffMs({ attempts, retryAfterMs: error.retryAfterMs }, context.chance()),
      failed ? STUBBORN_DELAY_MS : 0,
    );
    const counted = error.kind === "limited" ? 0 : attempts + 1;
    await remember({ delayMs, attempts: counted, error: errorText(error), failed });
    context.log.warn({ err: error, delayMs }, "postponed");
    return { retryInMs: delayMs };
  }
}
