import {
  counter,
  createMessageMetrics,
  durationHistogram,
  type Registry,
} from "../../shared/platform/metrics.ts";

/** The metrics of the workers. */
export function createWorkerMetrics(registry: Registry) {
  return {
    registry,
    ...createMessageMetrics(registry),
    ...createOutboundMetrics(registry),
    ...createSyncMetrics(registry),
    ...createRepairMetrics(registry),
    ...createConsumerMetrics(registry),
  };
}

export type WorkerMetrics = ReturnType<typeof createWorkerMetrics>;

/** Sending to Matrix, and every call to Matrix. */
function createOutboundMetrics(registry: Registry) {
  return {
    messagesSent: counter(registry, {
      name: "omc_messages_sent_total",
      help: "Messages that a homeserver accepted",
    }),
    messagesRequeued: counter(registry, {
      name: "omc_messages_forgotten_total",
      help: "Messages that a homeserver accepted and does not have any more: sent again",
    }),
    acceptedToSent: durationHistogram(registry, {
      name: "omc_accepted_to_sent_seconds",
      help: "Time from accepting a message to the homeserver's answer",
    }),
    sentPublished: counter(registry, {
      name: "omc_sent_published_total",
      help: "Numbers published up to which Matrix has a room",
    }),
    signs: counter(
      registry,
      { name: "omc_signs_total", help: "Live signs that were to go to Matrix, by outcome" },
      ["outcome"],
    ),
    jobs: counter(registry, { name: "omc_jobs_total", help: "Jobs that ended, by queue and outcome" }, [
      "queue",
      "outcome",
    ]),
    matrixFailures: counter(
      registry,
      { name: "omc_matrix_failures_total", help: "Matrix calls that failed, by kind" },
      ["kind"],
    ),
    matrixCallSeconds: durationHistogram(registry, {
      name: "omc_matrix_call_seconds",
      help: "Duration of Matrix calls other than /sync, up to the whole response",
    }),
    breakerOpen: counter(registry, {
      name: "omc_breaker_opened_total",
      help: "How often the breaker of a homeserver opened",
    }),
  };
}

/** Reading from Matrix. */
function createSyncMetrics(registry: Registry) {
  return {
    syncReads: counter(
      registry,
      { name: "omc_sync_reads_total", help: "Responses that observers saved, by where they read" },
      ["from"],
    ),
    syncEvents: counter(registry, {
      name: "omc_sync_entries_total",
      help: "Timeline entries appended from /sync",
    }),
    gaps: counter(registry, { name: "omc_gaps_total", help: "Gaps recorded by /sync" }),
    markersForged: counter(registry, {
      name: "omc_markers_forged_total",
      help: "Events with a message marker that is not ours",
    }),
    driftRepaired: counter(
      registry,
      { name: "omc_drift_repaired_total", help: "Changes on Matrix that are reverted, by what changed" },
      ["what"],
    ),
    encryptedRooms: counter(registry, {
      name: "omc_encrypted_rooms_total",
      help: "Rooms found encrypted: must stay 0",
    }),
  };
}

/** Leases, wake-ups and repairs. */
function createRepairMetrics(registry: Registry) {
  return {
    leaseTaken: counter(
      registry,
      { name: "omc_leases_taken_total", help: "Leases that this process acquired, by what they are of" },
      ["lease"],
    ),
    leaseLost: counter(
      registry,
      { name: "omc_lease_lost_total", help: "Leases that ended while their holder worked" },
      ["lease"],
    ),
    sweeperWakes: counter(
      registry,
      { name: "omc_sweeper_wakes_total", help: "Due work that the sweeper woke" },
      ["queue"],
    ),
    keysRepaired: counter(registry, {
      name: "omc_deduplication_keys_repaired_total",
      help: "Deduplication keys removed because their job was lost",
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
