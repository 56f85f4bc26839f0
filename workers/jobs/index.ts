import type { JobName, JobPayload } from "../../shared/queues/index.ts";
import type { JobResult, WorkerContext } from "../runtime/context.ts";
import { handleMaintenance } from "./maintenance.ts";
import { handleMembership } from "./membership.ts";
import { handleOutboundMessage } from "./outbound-message.ts";
import { handleProvisioning } from "./provisioning.ts";
import { handleRoomSync } from "./room-sync.ts";
import { handleTimelineConsumer } from "./timeline-consumer.ts";

type Handlers = {
  [N in JobName]: {
    handle: (context: WorkerContext, payload: JobPayload<N>) => Promise<JobResult>;
    concurrency: number;
  };
};

/**
 * Rooms that one process drains at a time, and how many of them one tenant may have. With more, requests would wait inside
 * the homeserver, which does not divide its time fairly between tenants.
 */
export const OUTBOUND_CONCURRENCY = { perProcess: 32, perTenant: 20 };

/** The handler of every queue, and how many of its jobs one process runs at a time. */
export const HANDLERS: Handlers = {
  "outbound-message": { handle: handleOutboundMessage, concurrency: OUTBOUND_CONCURRENCY.perProcess },
  membership: { handle: handleMembership, concurrency: 10 },
  provisioning: { handle: handleProvisioning, concurrency: 10 },
  "room-sync": { handle: handleRoomSync, concurrency: 5 },
  "timeline-consumer": { handle: handleTimelineConsumer, concurrency: 10 },
  maintenance: { handle: handleMaintenance, concurrency: 1 },
};
