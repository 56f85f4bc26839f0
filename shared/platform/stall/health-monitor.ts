import {
  findStalled,
  updateSamples,
  type ProgressTokens,
  type Samples,
  type StallLimits,
} from "./stall-detector.ts";

export type HealthMonitor = { stop: () => void };

/**
 * Samples the progress of things, and reports the first one that stalls, once. A sample that fails, or is not there
 * when the next one starts, proves nothing: it also discards the samples before it. `every` does not fit here, since it
 * would wait for a sample that never comes.
 */
export function startHealthMonitor(options: {
  limits: StallLimits;
  sample: () => Promise<ProgressTokens>;
  onStalled: (name: string) => void;
}): HealthMonitor {
  const { everyMs, limitMs } = options.limits;
  let samples: Samples = new Map();
  let started = 0;
  const takeSample = async (): Promise<void> => {
    const number = ++started;
    const previous = samples;
    samples = new Map();
    const tokens = await options.sample();
    if (number !== started) return;
    samples = updateSamples(previous, tokens, everyMs);
    const stalled = findStalled(samples, limitMs);
    if (stalled === null) return;
    stop();
    options.onStalled(stalled);
  };
  const timer = setInterval(() => {
    takeSample().catch(() => undefined);
  }, everyMs);
  const stop = () => {
    started++;
    clearInterval(timer);
  };
  return { stop };
}
