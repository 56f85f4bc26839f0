import {
  counter,
  createMessageMetrics,
  durationHistogram,
  type Registry,
} from "../shared/platform/metrics.ts";

/** What the API counts; scraped at `/metrics`. */
export function createApiMetrics(registry: Registry) {
  return {
    registry,
    ...createMessageMetrics(registry),
    accepted: counter(registry, { name: "omc_messages_accepted_total", help: "Messages accepted" }),
    requestSeconds: durationHistogram(
      registry,
      { name: "omc_http_request_seconds", help: "Requests, from the first byte to the end of the answer" },
      ["method", "route", "status"],
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
