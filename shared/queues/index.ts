import { erasure } from "./erasure.ts";
import { maintenance } from "./maintenance.ts";
import { membership } from "./membership.ts";
import { outboundMessage } from "./outbound-message.ts";
import { provisioning } from "./provisioning.ts";
import { roomSync } from "./room-sync.ts";
import { timelineConsumer } from "./timeline-consumer.ts";

/** Every queue's contract, by the queue's name. */
export const JOBS = {
  provisioning,
  membership,
  "room-sync": roomSync,
  "outbound-message": outboundMessage,
  "timeline-consumer": timelineConsumer,
  erasure,
  maintenance,
} as const;

export type JobName = keyof typeof JOBS;
export type JobPayload<N extends JobName> = ReturnType<(typeof JOBS)[N]["payload"]["parse"]>;
