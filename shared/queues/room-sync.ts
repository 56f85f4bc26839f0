import { DEFAULT_JOB_OPTIONS, defineJob } from "./define.ts";
import { roomDeduplicationId, roomPayload } from "./room-payload.ts";

/** Wakes the work that fills the gap which `/sync` left in one room's timeline. */
export const roomSync = defineJob({
  name: "room-sync",
  payload: roomPayload,
  options: DEFAULT_JOB_OPTIONS,
  deduplicationId: roomDeduplicationId,
});
