import type { Db } from "../../shared/db/connection/open.ts";
import { countDueCursors } from "../../shared/db/timeline/consumers.ts";
import { gauge, type Registry } from "../../shared/platform/metrics.ts";

/** A gauge of what the timeline consumers have not read, from Postgres; NaN while Postgres is away. */
export function registerConsumerGauge(registry: Registry, db: Db): void {
  gauge(
    registry,
    {
      name: "omc_consumer_due",
      help: "Rooms that a timeline consumer has not read to their end, of all consumers (counted to 100,000)",
    },
    () => countDueCursors(db).catch(() => Number.NaN),
  );
}
