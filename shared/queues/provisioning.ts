import { z } from "zod";
import { DEFAULT_JOB_OPTIONS, defineJob } from "./define.ts";

/** Wakes the work that brings one account or one room on Matrix to its desired state: create, rename, delete. */
export const provisioning = defineJob({
  name: "provisioning",
  payload: z.strictObject({ tenantId: z.uuid(), subject: z.enum(["user", "room"]), id: z.uuid() }),
  options: DEFAULT_JOB_OPTIONS,
  deduplicationId: ({ tenantId, subject, id }) => `${tenantId}.${subject}.${id}`,
});
