import {
  findStalled,
  updateSamples,
  type ProgressTokens,
  type Samples,
  type StallLimits,
} from "./stall-detector.ts";

export type HealthMonitor = { stop: () => void };

/**
 * Looks at things that should move, and tells of the first that stands still for the limit, once. A look that fails
 * or lasts until the next one says nothing of them, and what was seen before it does not count any more.
 */
export function startHealthMonitor(options: {
  limits: StallLimits;
  look: () => Promise<ProgressTokens>;
  onStalled: (name: string) => void;
}): HealthMonitor {
  const { everyMs, limitMs } = options.limits;
  let sights: Samples = new Map();
  let turn = 0;
  const look = async (): Promise<void> => {
    const mine = ++turn;
    const before = sights;
    sights = new Map();
    const marks = await options.look();
    if (mine !== turn) return;
    sights = updateSamples(before, marks, everyMs);
    const still = findStalled(sights, limitMs);
    if (still === null) return;
    stop();
    options.onStalled(still);
  };
  const timer = setInterval(() => {
    look().catch(() => undefined);
  }, everyMs);
  const stop = () => {
    turn++;
    clearInterval(timer);
  };
  return { stop };
}
