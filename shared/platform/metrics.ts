import { AggregatorRegistry, collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from "prom-client";

export { Counter, Gauge, Histogram, Registry } from "prom-client";

/** A registry of one process, with the runtime's own figures (CPU, memory, event-loop lag). */
export function createMetrics(): Registry {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  return registry;
}

type Naming = { name: string; help: string };

export function counter<L extends string>(
  registry: Registry,
  naming: Naming,
  labelNames: readonly L[] = [],
): Counter<L> {
  return new Counter({ ...naming, labelNames: [...labelNames], registers: [registry] });
}

/** A gauge; with `read`, its value is asked for at each scrape. */
export function gauge(registry: Registry, naming: Naming, read?: () => number | Promise<number>): Gauge {
  return new Gauge({
    ...naming,
    registers: [registry],
    ...(read
      ? {
          async collect() {
            this.set(await read());
          },
        }
      : {}),
  });
}

/** A gauge of several things at once, asked for at each scrape; what is not named any more is gone. */
export function gaugeOfEach<L extends string>(
  registry: Registry,
  naming: Naming,
  label: L,
  read: () => Iterable<readonly [string, number]>,
): Gauge<L> {
  return new Gauge({
    ...naming,
    labelNames: [label],
    registers: [registry],
    collect() {
      this.reset();
      for (const [name, value] of read()) this.set({ [label]: name } as Record<L, string>, value);
    },
  });
}

/** A histogram of seconds, from 1 ms to 30 s. */
export function durationHistogram<L extends string>(
  registry: Registry,
  naming: Naming,
  labelNames: readonly L[] = [],
): Histogram<L> {
  return new Histogram({
    ...naming,
    labelNames: [...labelNames],
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
    registers: [registry],
  });
}

/** What every tier counts that accepts messages or moves them. */
export function createMessageMetrics(registry: Registry) {
  return {
    messagesDead: counter(
      registry,
      { name: "omc_messages_dead_total", help: "Messages given up, by reason" },
      ["code"],
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
  };
}

/** What `Registry.getMetricsAsJSON` gives, as another process sent it. */
export type MetricValues = readonly unknown[];

/** The text of the metrics of several processes as one: counters and gauges are added up. */
export function mergeMetrics(reports: readonly MetricValues[]): Promise<string> {
  return AggregatorRegistry.aggregate(reports.map((values) => [...values] as object[])).metrics();
}
