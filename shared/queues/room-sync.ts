import { DEFAULT_JOB_OPTIONS, defineJob } from "./define.ts";
import { roomDeduplicationId, roomPayload } from "./room-payload.ts";

/** Wakes the work on one room's timeline: fill the gap that `/sync` left. */
export const roomSync = defineJob({
  name: "room-sync",
  payload: roomPayload,
  options: DEFAULT_JOB_OPTIONS,
  deduplicationId: roomDeduplicationId,
});
