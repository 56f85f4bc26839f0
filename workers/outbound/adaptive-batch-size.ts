const SMALLEST_BATCH = 4;
const LARGEST_BATCH = 100;
/** A batch holds about this much sending, so that a crash repeats little and other work of the room waits no longer. */
const BATCH_TARGET_MS = 400;
/** Weight of the newest batch in the moving average. */
const NEWEST_SHARE = 0.3;

/** How many messages of a room are claimed at a time: about 400 ms of sends at this process's recent rate. */
export type AdaptiveBatchSize = {
  batchMessages: () => number;
  /** Adds a batch to the average; one in which nothing was sent changes nothing. */
  addSample: (messages: number, tookMs: number) => void;
};

/** Starts with the smallest batch. One average for all homeservers of the process. */
export function createAdaptiveBatchSize(): AdaptiveBatchSize {
  let messageMs = BATCH_TARGET_MS / SMALLEST_BATCH;
  return {
    batchMessages: () =>
      Math.min(LARGEST_BATCH, Math.max(SMALLEST_BATCH, Math.floor(BATCH_TARGET_MS / messageMs))),
    addSample: (messages, tookMs) => {
      if (messages > 0) messageMs += (tookMs / messages - messageMs) * NEWEST_SHARE;
    },
  };
}
