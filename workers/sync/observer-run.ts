import type { LeasedObserver } from "../../shared/db/sync-positions.ts";

/** One observer, as this process runs it. */
export type ObserverRun = {
  observer: LeasedObserver;
  fence: string;
  signal: AbortSignal;
};
