import { AggregatorRegistry, collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from "prom-client";

export { Counter, Gauge, Histogram, Registry } from "prom-client";

/** The registry of one process, with the metrics of the runtime (CPU, memory, event-loop lag). */
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

/** A gauge. With `read`, each scrape reads its value. */
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

/** A gauge with one value per label. Each scrape reads all values; a label that `read` omits disappears. */
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

/** A histogram of durations in seconds, with buckets from 1 ms to 30 s. */
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

/** The metrics of every process that accepts or delivers messages. */
export function createMessageMetrics(registry: Registry) {
  return {
    messagesDead: counter(
      registry,
      { name: "omc_messages_dead_total", help: "Messages marked as dead, by error code" },
      ["code"],
    ),
    publishLag: durationHistogram(registry, {
      name: "omc_publish_lag_seconds",
      help: "Time from the commit of timeline entries to their publication in the stream",
    }),
    wakeFailures: counter(
      registry,
      {
        name: "omc_wake_failures_total",
        help: "Wake-ups of a queue that Redis did not accept within 250 ms",
      },
      ["queue"],
    ),
  };
}

/** The result of `Registry.getMetricsAsJSON` in another process. */
export type MetricValues = readonly unknown[];

/** Merges the metrics of several processes into one text. Adds up counters and gauges. */
export function mergeMetrics(reports: readonly MetricValues[]): Promise<string> {
  return AggregatorRegistry.aggregate(reports.map((values) => [...values] as object[])).metrics();
}
