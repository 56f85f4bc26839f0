import type { z } from "zod";

/** How BullMQ keeps and repeats a queue's jobs. When work is due is decided in Postgres. */
export type JobOptions = {
  /** Unexpected failures before a job goes to the failed set; expected ones do not count. */
  attempts: number;
  backoff: { type: "exponential"; delay: number; jitter: number };
  /** Age in seconds. */
  removeOnComplete: { age: number; count: number };
  removeOnFail: { age: number; count: number };
};

/**
 * Contract of one queue: its name, what a job carries (ids only), and the id by which two jobs are the same wake-up.
 * `deduplicationId` starts with the tenant.
 */
export type JobContract<Payload> = {
  name: string;
  payload: z.ZodType<Payload>;
  options: JobOptions;
  deduplicationId: (payload: Payload) => string;
};

export const DEFAULT_JOB_OPTIONS: JobOptions = {
  attempts: 5,
  backoff: { type: "exponential", delay: 500, jitter: 0.5 },
  removeOnComplete: { age: 3_600, count: 1_000 },
  removeOnFail: { age: 7 * 86_400, count: 1_000 },
};

export function defineJob<Payload>(contract: JobContract<Payload>): JobContract<Payload> {
  return contract;
}
