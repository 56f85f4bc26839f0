/**
 * SET clauses of users and rooms, which both carry a desired and an applied version of what Matrix should have. The
 * provisioning job applies the desired version; it is due from `next_attempt_at` on, null when there is nothing to do.
 */

/** The row is due at once, or stays overdue, with a new desired version. */
export const PROVISIONING_DUE = `
  desired_version = desired_version + 1, next_attempt_at = least(coalesce(next_attempt_at, now()), now())`;

/** The row is due for a new desire of the tenant: the failures of the former one count no more. */
export const PROVISIONING_CHANGED = `${PROVISIONING_DUE}, attempts = 0, error = null,
  status = case when status = 'failed' then 'pending' else status end`;

/** The job failed: bind `delayMs`, `attempts`, `error` and `failed`. A row that was ready stays so. */
export const PROVISIONING_RESCHEDULED = `
  next_attempt_at = now() + :delayMs * interval '1 millisecond', attempts = :attempts, error = :error,
  status = case when :failed and status = 'pending' then 'failed' else status end`;

/** What a job records when it failed. `failed`: time alone does not repair it. */
export type FailedProvisioning = { delayMs: number; attempts: number; error: string; failed: boolean };
