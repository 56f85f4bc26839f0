import {
  counter,
  createMessageMetrics,
  durationHistogram,
  type Registry,
} from "../shared/platform/metrics.ts";

/** The metrics of an api process, served at `/metrics`. */
export function createApiMetrics(registry: Registry) {
  return {
    registry,
    ...createMessageMetrics(registry),
    accepted: counter(registry, { name: "omc_messages_accepted_total", help: "Accepted messages" }),
    requestSeconds: durationHistogram(
      registry,
      { name: "omc_http_request_seconds", help: "Duration of requests, until the answer is sent" },
      ["method", "route", "status"],
    ),
    dropped: counter(
      registry,
      {
        name: "omc_aftermath_dropped_total",
        help: "Commits whose side effects were dropped and left to the sweeper",
      },
      ["reason"],
    ),
    rateLimited: counter(
      registry,
      { name: "omc_rate_limited_total", help: "Requests refused by a rate limit, by limit" },
      ["limit"],
    ),
    connectionsRefused: counter(registry, {
      name: "omc_http_connections_refused_total",
      help: "Connections beyond the limit of the process, refused with 503 or cut",
    }),
    countedAlone: counter(registry, {
      name: "omc_limits_alone_total",
      help: "Requests that this process counted alone because Redis was away or slow",
    }),
  };
}

export type ApiMetrics = ReturnType<typeof createApiMetrics>;
