/** Events in a second from which on an observer pauses between its reads. */
const BUSY_EVENTS = 15;
const WINDOW_MS = 1_000;
const PAUSE_MS = 150;

/**
 * While much arrives, an observer pauses between its reads, so that one response brings several events: each read costs the
 * homeserver about a fifth of what an event costs it, and takes that from the messages that it is to accept.
 */
export type ReadPace = {
  /** A read has brought this many events. */
  add: (events: number) => void;
  /** How long to wait before the next read, in milliseconds. */
  pauseMs: () => number;
};

/** `now` in milliseconds, of a clock that is not set. */
export function createReadPace(now: () => number): ReadPace {
  let reads: { atMs: number; events: number }[] = [];
  return {
    add: (events) => {
      const sinceMs = now() - WINDOW_MS;
      reads = reads.filter(({ atMs }) => atMs > sinceMs);
      if (events > 0) reads.push({ atMs: now(), events });
    },
    pauseMs: () => {
      const sinceMs = now() - WINDOW_MS;
      const events = reads.reduce((sum, read) => (read.atMs > sinceMs ? sum + read.events : sum), 0);
      return events >= BUSY_EVENTS ? PAUSE_MS : 0;
    },
  };
}
