const SMALLEST_BATCH = 4;
const LARGEST_BATCH = 100;
/** Messages are marked after this much sending, so that a crash repeats little and people see `sent` soon. */
const BATCH_TARGET_MS = 100;
/** How much the newest batch counts against those before. */
const NEWEST_SHARE = 0.3;

/** How many messages of a room are claimed at a time, by how long this process's sends take of late. */
export type AdaptiveBatchSize = {
  batchMessages: () => number;
  note: (messages: number, tookMs: number) => void;
};

/** Begins with the smallest batch; a process that talks to a slow and a fast homeserver takes the middle. */
export function createAdaptiveBatchSize(): AdaptiveBatchSize {
  let messageMs = BATCH_TARGET_MS / SMALLEST_BATCH;
  return {
    batchMessages: () =>
      Math.min(LARGEST_BATCH, Math.max(SMALLEST_BATCH, Math.floor(BATCH_TARGET_MS / messageMs))),
    note: (messages, tookMs) => {
      if (messages > 0) messageMs += (tookMs / messages - messageMs) * NEWEST_SHARE;
    },
  };
}
