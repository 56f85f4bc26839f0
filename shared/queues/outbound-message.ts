import { DEFAULT_JOB_OPTIONS, defineJob } from "./define.ts";
import { roomDeduplicationId, roomPayload } from "./room-payload.ts";

/**
 * Wakes the drain of one room: its queued messages go to Matrix in the order accepted. What to send, and when to try
 * again, is read from Postgres.
 */
export const outboundMessage = defineJob({
  name: "outbound-message",
  payload: roomPayload,
  options: DEFAULT_JOB_OPTIONS,
  deduplicationId: roomDeduplicationId,
});
