import { z } from "zod";
import { DEFAULT_JOB_OPTIONS, defineJob } from "./define.ts";

/** The schedules: `reconcile` every minute, `retention` every hour. */
export const maintenance = defineJob({
  name: "maintenance",
  payload: z.strictObject({ task: z.enum(["reconcile", "retention"]) }),
  options: { ...DEFAULT_JOB_OPTIONS, attempts: 1, removeOnComplete: { age: 600, count: 100 } },
  deduplicationId: ({ task }) => `all.${task}`,
});
