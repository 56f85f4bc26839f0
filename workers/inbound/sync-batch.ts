import { EventType } from "../matrix/names.ts";
import type { SyncResponse } from "../matrix/sync/fetch-changes.ts";
import type { Offered } from "./look-up.ts";

/** One answer of `/sync`: what happened from one position to the next. */
export type SyncBatch = {
  from: string;
  to: string;
  /** Rooms with events, or with some left out before them. */
  rooms: (Offered & { isCut: boolean })[];
  /** Rooms that the observer is not in any more. */
  left: string[];
};

export function parseSyncBatch(from: string, { next_batch: to, rooms }: SyncResponse): SyncBatch {
  const joined = Object.entries(rooms?.join ?? {}).flatMap(([matrixRoomId, { timeline }]) => {
    if (timeline === undefined || (timeline.events.length === 0 && !timeline.limited)) return [];
    return [{ matrixRoomId, events: timeline.events, isCut: isCut(timeline) }];
  });
  return { from, to, rooms: joined, left: Object.keys(rooms?.leave ?? {}) };
}

type Timeline = { limited: boolean; events: readonly { type: string }[] };

/** Whether something before was left out. A room that was just entered always says so, even when it is whole. */
function isCut({ limited, events }: Timeline): boolean {
  return limited && !events.some((event) => event.type === EventType.RoomCreate);
}
