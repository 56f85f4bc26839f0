import type { LeasedObserver } from "../../shared/db/sync-positions.ts";

/** One observer, as this process runs it. */
export type ObserverRun = {
  observer: LeasedObserver;
  fence: string;
  signal: AbortSignal;
  /** Row ids of the observer's rooms by Matrix id, as far as they were met. */
  roomIds: Map<string, string>;
};
