import type { LeasedObserver } from "../../../shared/db/observers/observer-lease.ts";

/** Another process holds the observer's lease now: this one must save nothing more. */
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
  /** Row ids, by Matrix id, of rooms that had no gap when they were last read. The transaction that uses them checks that. */
  known: {
    get: (matrixRoomId: string) => string | undefined;
    set: (matrixRoomId: string, roomId: string) => unknown;
    delete: (matrixRoomId: string) => unknown;
  };
  /**
   * `fromStream`: the homeserver's event stream is read before `/sync`; false after it was not found.
   * `isConfirmed`: `/sync` has accepted the saved position since the lease was taken.
   * `roomsComparedAtMs`: when `noteLeftRooms` last looked; null when it is to look next.
   */
  reading: { fromStream: boolean; isConfirmed: boolean; roomsComparedAtMs: number | null };
};
