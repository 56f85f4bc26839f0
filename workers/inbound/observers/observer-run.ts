import type { LeasedObserver } from "../../../shared/db/observers/observer-lease.ts";

/** Somebody else runs this observer now: nothing of ours may be saved. */
export class ObserverLeaseLost extends Error {
  constructor() {
    super("the observer's lease ended");
    this.name = "ObserverLeaseLost";
  }
}

/** One observer, as this process runs it. */
export type ObserverRun = {
  observer: LeasedObserver;
  fence: string;
  signal: AbortSignal;
  /** Row ids, by Matrix id, of rooms that were seen without a gap; what is saved on the word of it requires it. */
  known: Map<string, string>;
  /**
   * Whether the homeserver's stream of events is read before `/sync`, until it turns out to have none; and whether `/sync`
   * has answered from the saved position since the observer was taken.
   */
  reading: { fromStream: boolean; isConfirmed: boolean };
};
