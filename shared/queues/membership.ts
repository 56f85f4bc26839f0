import { DEFAULT_JOB_OPTIONS, defineJob } from "./define.ts";
import { roomDeduplicationId, roomPayload } from "./room-payload.ts";

/** Wakes the work that brings one room's members and power levels on Matrix to their desired state. */
export const membership = defineJob({
  name: "membership",
  payload: roomPayload,
  options: DEFAULT_JOB_OPTIONS,
  deduplicationId: roomDeduplicationId,
});
