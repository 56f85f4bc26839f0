import { gauge, gaugeOfEach, type Registry } from "../../../shared/platform/metrics.ts";
import type { HomeserverPool } from "../../matrix/homeserver/pool.ts";

/** Gauges of the homeservers as this process sees them. The label is a row id. */
export function registerHomeserverGauges(
  registry: Registry,
  homeservers: Pick<HomeserverPool, "openBreakers" | "statuses">,
): void {
  gauge(
    registry,
    { name: "omc_breakers_open", help: "Homeservers to which no calls go because they do not answer" },
    homeservers.openBreakers,
  );
  gaugeOfEach(
    registry,
    {
      name: "omc_homeserver_up",
      help: "1 while a homeserver answers and knows our credential, by homeserver",
    },
    "homeserver",
    () => homeservers.statuses().map(([id, { state }]) => [id, state === "up" ? 1 : 0] as const),
  );
}
