import { z } from "zod";
import { DEFAULT_JOB_OPTIONS, defineJob } from "./define.ts";
import { roomDeduplicationId, roomPayload } from "./room-payload.ts";

/**
 * Wakes the delivery of one room's entries to one timeline consumer. What to deliver, and when to try again, is read
 * from Postgres.
 */
export const timelineConsumer = defineJob({
  name: "timeline-consumer",
  payload: roomPayload.extend({ consumer: z.string() }),
  options: DEFAULT_JOB_OPTIONS,
  deduplicationId: (payload) => `${roomDeduplicationId(payload)}.${payload.consumer}`,
});
