import { DEFAULT_JOB_OPTIONS, defineJob } from "./define.ts";
import { roomDeduplicationId, roomPayload } from "./room-payload.ts";

/**
 * Wakes the sending of one room's messages to Matrix, in the order in which they were accepted. What to send, and when to
 * try again, is read from Postgres.
 */
export const outboundMessage = defineJob({
  name: "outbound-message",
  payload: roomPayload,
  options: DEFAULT_JOB_OPTIONS,
  deduplicationId: roomDeduplicationId,
});
