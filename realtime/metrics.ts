import { counter, gauge, gaugeOfEach, durationHistogram, type Registry } from "../shared/platform/metrics.ts";
import type { FairQueue } from "../shared/platform/concurrency/fair-queue.ts";
import type { AddressQuota } from "./quotas/address-quota.ts";
import type { SocketQuotas } from "./quotas/socket-quotas.ts";
import type { Connection } from "./session/connection.ts";
import type { Hub } from "./channels/hub.ts";
import type { RedisSubscriptions } from "./broker/redis-subscriptions.ts";
import type { Transport, UpgradeRefusal } from "./transport/transport.ts";

/** Close codes of the WebSocket protocol that are counted by themselves. */
const KNOWN_CLOSES = new Set([1_000, 1_001, 1_009]);

/** The counters of the tier. */
export class RealtimeMetrics {
  readonly #publications;
  readonly #deliveries;
  readonly #closes;
  readonly #recoveries;
  readonly #recovered;
  readonly #errors;
  readonly #insufficient;
  readonly #refused;
  readonly #overQuota;
  readonly #malformed;
  readonly #timelineEntries;
  readonly #presence;
  readonly #lag;

  constructor(registry: Registry) {
    const name = (suffix: string) => `omc_realtime_${suffix}`;
    this.#publications = counter(registry, {
      name: name("publications_total"),
      help: "Publications delivered to a topic",
    });
    this.#deliveries = counter(registry, {
      name: name("deliveries_total"),
      help: "Publications queued for a socket",
    });
    this.#closes = counter(registry, { name: name("closes_total"), help: "Sockets closed, by close code" }, [
      "code",
    ]);
    this.#recoveries = counter(
      registry,
      { name: name("recoveries_total"), help: "Recoveries asked for, by outcome" },
      ["recovered"],
    );
    this.#recovered = counter(registry, {
      name: name("recovered_publications_total"),
      help: "Publications recovered",
    });
    this.#errors = counter(
      registry,
      { name: name("reply_errors_total"), help: "Commands refused, by code" },
      ["code"],
    );
    this.#insufficient = counter(registry, {
      name: name("insufficient_total"),
      help: "Subscriptions ended by a gap that cannot be filled",
    });
    this.#refused = counter(registry, { name: name("upgrades_refused_total"), help: "Upgrades refused" }, [
      "reason",
    ]);
    this.#overQuota = counter(
      registry,
      { name: name("over_quota_total"), help: "Sockets over a limit, by whose limit it is" },
      ["quota"],
    );
    this.#malformed = counter(registry, {
      name: name("malformed_total"),
      help: "Live messages that could not be parsed",
    });
    this.#timelineEntries = counter(registry, {
      name: name("timeline_entries_total"),
      help: "Entries read from Postgres, because Redis did not have them",
    });
    this.#presence = counter(registry, {
      name: name("presence_updates_total"),
      help: "Rooms whose present people were said to Redis",
    });
    this.#lag = durationHistogram(registry, {
      name: name("live_lag_seconds"),
      help: "From publishing a heartbeat on Redis to receiving it",
    });
  }

  delivered(subscribers: number): void {
    this.#publications.inc();
    this.#deliveries.inc(subscribers);
  }

  closed(code: number): void {
    // A client chooses its code: only codes of the protocol become a label.
    const isOfProtocol = (code >= 3_000 && code < 3_600) || KNOWN_CLOSES.has(code);
    this.#closes.inc({ code: isOfProtocol ? String(code) : "other" });
  }

  recovery(isRecovered: boolean, publications: number): void {
    this.#recoveries.inc({ recovered: String(isRecovered) });
    this.#recovered.inc(publications);
  }

  refusedCommand(code: number): void {
    this.#errors.inc({ code: String(code) });
  }

  insufficient(subscriptions: number): void {
    this.#insufficient.inc(subscriptions);
  }

  refusedUpgrade(reason: UpgradeRefusal): void {
    this.#refused.inc({ reason });
  }

  overQuota(quota: "user" | "tenant"): void {
    this.#overQuota.inc({ quota });
  }

  /** Entries that streams in Redis did not have. */
  readTimeline(entries: number): void {
    this.#timelineEntries.inc(entries);
  }

  malformed(): void {
    this.#malformed.inc();
  }

  presenceUpdates(rooms: number): void {
    this.#presence.inc(rooms);
  }

  liveLag(seconds: number): void {
    this.#lag.observe(seconds);
  }
}

/** Gauges that each scrape reads from the hub. */
export function registerHubGauges(
  registry: Registry,
  { hub, live, catchUp }: { hub: Hub<Connection>; live: RedisSubscriptions; catchUp: { topics: number } },
): void {
  const watch = (suffix: string, help: string, read: () => number) =>
    gauge(registry, { name: `omc_realtime_${suffix}`, help }, read);
  watch("connections", "Open sockets", () => hub.connections.size);
  watch("users", "Users with a connection", () => hub.users.size);
  watch("topics", "Rooms and users followed", () => hub.topics.size);
  watch("subscriptions", "Subscriptions of all sockets", () =>
    sum(hub, (connection) => connection.subscriptionCount),
  );
  watch("queue_bytes", "Bytes that wait for clients to read", () =>
    sum(hub, (connection) => connection.queueBytes),
  );
  watch("catching_up", "Topics whose missing entries are being read", () => catchUp.topics);
  watch("live_ready", "1 while live delivery from Redis works", () => (live.isReady ? 1 : 0));
}

/** Gauges of the connects and of the limits of sockets. */
export function registerQuotaGauges(
  registry: Registry,
  { turns, quotas, addresses }: { turns: FairQueue; quotas: SocketQuotas; addresses: AddressQuota },
): void {
  const watch = (suffix: string, help: string, read: () => number) =>
    gauge(registry, { name: `omc_realtime_${suffix}`, help }, read);
  watch("connects_waiting", "Connects that wait for their turn", () => turns.waiting);
  watch("unconnected", "Sockets without a connected user", () => addresses.unconnected);
  watch("quotas_shared", "1 while sockets are counted over all processes", () => (quotas.isShared ? 1 : 0));
}

/** Gauges that each scrape reads from the transport. */
export function registerTransportGauges(registry: Registry, transport: Transport): void {
  gauge(
    registry,
    { name: "omc_realtime_closing", help: "Sockets closed here that have not ended yet" },
    transport.closingSockets,
  );
  gaugeOfEach(
    registry,
    { name: "omc_realtime_transport", help: "1 for the transport that runs" },
    "transport",
    () => [[transport.name, 1]],
  );
}

function sum(hub: Hub<Connection>, read: (connection: Connection) => number): number {
  let total = 0;
  for (const connection of hub.connections) total += read(connection);
  return total;
}
