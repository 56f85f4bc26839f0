import type { JobName, JobPayload } from "../../shared/queues/index.ts";
import type { JobResult, WorkerContext } from "../runtime/context.ts";
import type { TenantSlots } from "../runtime/tenant-semaphore.ts";
import { handleErasure } from "./erasure.ts";
import { handleMaintenance } from "./maintenance.ts";
import { handleMembership } from "./membership.ts";
import { handleOutboundMessage } from "./outbound-message.ts";
import { handleProvisioning } from "./provisioning.ts";
import { handleRoomSync } from "./room-sync.ts";
import { handleTimelineConsumer } from "./timeline-consumer.ts";

type Handlers = {
  [N in JobName]: {
    handle: (context: WorkerContext, payload: JobPayload<N>) => Promise<JobResult>;
    slots: TenantSlots;
  };
};

/**
 * The handler of every queue, how many of its jobs one process runs at a time, and how many of them one tenant may have.
 * With more rooms that are sent to at a time, requests would wait inside the homeserver, which does not divide its time
 * fairly between tenants. Few slots of many: as long as the busy tenants do not have all of a process's, another one's job
 * starts at once. What they do at a homeserver is bounded by the turns there.
 */
export const HANDLERS: Handlers = {
  "outbound-message": { handle: handleOutboundMessage, slots: { perProcess: 32, perTenant: 20 } },
  membership: { handle: handleMembership, slots: { perProcess: 30, perTenant: 3 } },
  provisioning: { handle: handleProvisioning, slots: { perProcess: 30, perTenant: 3 } },
  "room-sync": { handle: handleRoomSync, slots: { perProcess: 12, perTenant: 2 } },
  "timeline-consumer": { handle: handleTimelineConsumer, slots: { perProcess: 10, perTenant: 6 } },
  erasure: { handle: handleErasure, slots: { perProcess: 4, perTenant: 2 } },
  maintenance: { handle: handleMaintenance, slots: { perProcess: 1, perTenant: 1 } },
};
