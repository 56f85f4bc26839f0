import { EventType } from "../matrix/names.ts";
import type { SyncResponse } from "../matrix/sync/fetch-changes.ts";
import type { EventsOfRoom } from "./look-up.ts";

/** What happened from one position to the next. */
export type SyncBatch = {
  from: string;
  to: string;
  /** Rooms with events. `isCut`: earlier events are missing. */
  rooms: (EventsOfRoom & { isCut: boolean })[];
  /** Rooms that the observer is no longer in. */
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

/** A room that the observer has just joined is always `limited`, also when its timeline is complete. */
function isCut({ limited, events }: Timeline): boolean {
  return limited && !events.some((event) => event.type === EventType.RoomCreate);
}
