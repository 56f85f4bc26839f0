/** A sample of a queue and of this process's work on it. */
export type QueueSample = {
  /** The job that is next; null when no job waits. */
  nextJobId: string | null;
  /** The queue is paused, or all processes together run as many of its jobs as they may. */
  isHeldBack: boolean;
  /** Jobs that this process may run at a time, that it runs, and that it has started since its own start. */
  concurrency: number;
  running: number;
  started: number;
};

/**
 * A token that changes until the next sample where this process works: it starts the next job, or another process does.
 * Null when there is nothing to start, or the process runs all the jobs that it may.
 */
export function queueProgressToken(sample: QueueSample): string | null {
  const { nextJobId, isHeldBack, concurrency, running, started } = sample;
  if (nextJobId === null || isHeldBack || running >= concurrency) return null;
  return `${started} started, next ${nextJobId}`;
}
