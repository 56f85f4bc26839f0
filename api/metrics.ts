import { counter, durationHistogram, type Registry } from "../shared/metrics.ts";

/** What the API counts; scraped at `/metrics`. */
export function createApiMetrics(registry: Registry) {
  return {
    registry,
    accepted: counter(registry, { name: "omc_messages_accepted_total", help: "Messages accepted" }),
    messagesDead: counter(
      registry,
      { name: "omc_messages_dead_total", help: "Messages given up, by reason" },
      ["code"],
    ),
    requestSeconds: durationHistogram(
      registry,
      { name: "omc_http_request_seconds", help: "Requests, from the first byte to the end of the answer" },
      ["method", "route", "status"],
    ),
    publishLag: durationHistogram(registry, {
      name: "omc_publish_lag_seconds",
      help: "From the commit of timeline entries to their place in the stream",
    }),
    wakeFailures: counter(
      registry,
      { name: "omc_wake_failures_total", help: "Wake-ups that Redis did not take within 250 ms" },
      ["queue"],
    ),
    dropped: counter(
      registry,
      { name: "omc_aftermath_dropped_total", help: "What was committed and left to the sweeper to tell" },
      ["reason"],
    ),
    rateLimited: counter(
      registry,
      { name: "omc_rate_limited_total", help: "Requests refused for being too many, by limit" },
      ["limit"],
    ),
    limitsAlone: counter(registry, {
      name: "omc_limits_alone_total",
      help: "Requests counted by this process alone, Redis being away or slow",
    }),
  };
}

export type ApiMetrics = ReturnType<typeof createApiMetrics>;
