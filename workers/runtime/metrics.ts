import {
  counter,
  createMessageMetrics,
  durationHistogram,
  type Registry,
} from "../../shared/platform/metrics.ts";

/** What the workers count; scraped at `/metrics`. */
export function createWorkerMetrics(registry: Registry) {
  return {
    registry,
    ...createMessageMetrics(registry),
    ...createOutboundMetrics(registry),
    ...createSyncMetrics(registry),
    ...createUpkeepMetrics(registry),
    ...createConsumerMetrics(registry),
  };
}

export type WorkerMetrics = ReturnType<typeof createWorkerMetrics>;

/** The way out, and the calls it makes. */
function createOutboundMetrics(registry: Registry) {
  return {
    messagesSent: counter(registry, {
      name: "omc_messages_sent_total",
      help: "Messages that a homeserver took",
    }),
    messagesRequeued: counter(registry, {
      name: "omc_messages_forgotten_total",
      help: "Messages that a homeserver took and has no more: sent again",
    }),
    acceptedToSent: durationHistogram(registry, {
      name: "omc_accepted_to_sent_seconds",
      help: "From accepting a message to the homeserver's answer",
    }),
    jobs: counter(registry, { name: "omc_jobs_total", help: "Jobs that ended, by queue and outcome" }, [
      "queue",
      "outcome",
    ]),
    matrixFailures: counter(
      registry,
      { name: "omc_matrix_failures_total", help: "Matrix calls that did not succeed, by kind" },
      ["kind"],
    ),
    matrixCallSeconds: durationHistogram(registry, {
      name: "omc_matrix_call_seconds",
      help: "Matrix calls other than /sync, from request to the whole answer",
    }),
    breakerOpen: counter(registry, {
      name: "omc_breaker_opened_total",
      help: "Times a homeserver's breaker opened",
    }),
  };
}

/** The way in. */
function createSyncMetrics(registry: Registry) {
  return {
    syncReads: counter(
      registry,
      { name: "omc_sync_reads_total", help: "Answers that observers went on from" },
      ["from"],
    ),
    syncEvents: counter(registry, {
      name: "omc_sync_entries_total",
      help: "Timeline entries made from /sync",
    }),
    gaps: counter(registry, { name: "omc_gaps_total", help: "Gaps recorded by /sync" }),
    markersForged: counter(registry, {
      name: "omc_markers_forged_total",
      help: "Message markers that were not ours",
    }),
    driftRepaired: counter(
      registry,
      { name: "omc_drift_repaired_total", help: "Changes on Matrix that are put back" },
      ["what"],
    ),
    encryptedRooms: counter(registry, {
      name: "omc_encrypted_rooms_total",
      help: "Rooms found encrypted: an alarm",
    }),
  };
}

/** Leases, wake-ups and repairs. */
function createUpkeepMetrics(registry: Registry) {
  return {
    leaseTaken: counter(
      registry,
      { name: "omc_leases_taken_total", help: "Leases that this process took, by what they are of" },
      ["lease"],
    ),
    leaseLost: counter(
      registry,
      { name: "omc_lease_lost_total", help: "Leases that ended under their holder" },
      ["lease"],
    ),
    sweeperWakes: counter(
      registry,
      { name: "omc_sweeper_wakes_total", help: "Due work that no job had woken" },
      ["queue"],
    ),
    keysRepaired: counter(registry, {
      name: "omc_deduplication_keys_repaired_total",
      help: "Deduplication keys whose job was in no list",
    }),
  };
}

/** The timeline consumers. */
function createConsumerMetrics(registry: Registry) {
  return {
    consumerDelivered: counter(
      registry,
      { name: "omc_consumer_delivered_total", help: "Entries and gaps that a timeline consumer took" },
      ["consumer"],
    ),
    consumerParked: counter(
      registry,
      { name: "omc_consumer_parked_total", help: "Entries and gaps that were parked after ten failures" },
      ["consumer"],
    ),
  };
}
