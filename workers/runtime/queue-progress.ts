/** What one look at a queue shows. */
export type QueueSample = {
  /** The job that is next to be taken up; null when none waits. */
  nextJobId: string | null;
  /** By an operator: the queue is paused, or has as many jobs running in all processes as it may. */
  isHeldBack: boolean;
  /** Of this process: jobs that it may run at a time, that it runs, and that it has taken up since its start. */
  places: number;
  running: number;
  taken: number;
};

/**
 * What must change until the next look when this process works, by taking the job up or by another process's doing so;
 * null when it has nothing to do or no place for it.
 */
export function queueProgressToken(sight: QueueSample): string | null {
  const { nextJobId, isHeldBack, places, running, taken } = sight;
  if (nextJobId === null || isHeldBack || running >= places) return null;
  return `${taken} taken, next ${nextJobId}`;
}
