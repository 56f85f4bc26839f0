import { readBacklog, type Backlog } from "../../shared/db/backlog.ts";
import type { Db } from "../../shared/db/connection/open.ts";
import { gauge, type Registry } from "../../shared/platform/metrics.ts";

const GAUGES: readonly { backlog: Backlog; name: string; help: string }[] = [
  {
    backlog: "openMessages",
    name: "omc_messages_open",
    help: "Messages accepted that no observer has read and that are not dead, by the rooms' counters",
  },
  {
    backlog: "tenantShare",
    name: "omc_tenant_messages_share",
    help: "The largest share of its limit queuedMessages that a tenant uses: 1 is refused with 503",
  },
  {
    backlog: "roomShare",
    name: "omc_room_messages_share",
    help: "The largest share of the limit roomMessages that a room uses: 1 is refused with 503",
  },
  {
    backlog: "unseenMessages",
    name: "omc_messages_unseen",
    help: "Messages that a homeserver accepted 30 s ago or earlier and that no observer has read (counted to 100,000)",
  },
  {
    backlog: "oldestDueSeconds",
    name: "omc_oldest_due_seconds",
    help: "Age of the oldest message that waits to be sent",
  },
  {
    backlog: "unpublishedTimelines",
    name: "omc_timelines_unpublished",
    help: "Rooms whose stream is behind their timeline",
  },
  {
    backlog: "oldestUnpublishedSeconds",
    name: "omc_oldest_unpublished_seconds",
    help: "Age of the oldest timeline entry that is not in its stream",
  },
  {
    backlog: "sentDueSeconds",
    name: "omc_sent_due_seconds",
    help: "Age of the oldest number up to which Matrix has a room that is not published",
  },
  { backlog: "openGaps", name: "omc_gaps_open", help: "Rooms with a gap that is not yet filled" },
  {
    backlog: "roomsToResend",
    name: "omc_rooms_to_resend",
    help: "Rooms of which Matrix lost more than 1,000 messages: an operator must have them sent again",
  },
  {
    backlog: "observersOut",
    name: "omc_observers_out",
    help: "Rooms whose observer is not in them on Matrix: their messages wait",
  },
];

/** Gauges of what waits, read from Postgres when Prometheus asks. Queues do not know it: their jobs are wake-ups. */
export function registerBacklogGauges(registry: Registry, db: Db): void {
  for (const { backlog, name, help } of GAUGES) {
    // Without Postgres the gauge is NaN: the scrape must still return the other metrics.
    gauge(registry, { name, help }, () => readBacklog(db, backlog).catch(() => Number.NaN));
  }
}
