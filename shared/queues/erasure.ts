import { z } from "zod";
import { DEFAULT_JOB_OPTIONS, defineJob } from "./define.ts";

/** Wakes the work that empties what a deleted user wrote, here and on Matrix. What is left of it is read from Postgres. */
export const erasure = defineJob({
  name: "erasure",
  payload: z.strictObject({ tenantId: z.uuid(), userId: z.uuid() }),
  options: DEFAULT_JOB_OPTIONS,
  deduplicationId: ({ tenantId, userId }) => `${tenantId}.${userId}`,
});
