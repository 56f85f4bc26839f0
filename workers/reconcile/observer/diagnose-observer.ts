import type { Db } from "../../../shared/db/connection/open.ts";
import type { RoomSnapshot } from "../../../shared/db/rooms/room-snapshot.ts";
import type { Homeserver } from "../../matrix/homeserver/homeserver.ts";
import type { Difference } from "../configuration/difference.ts";
import { findWayBack, isObserverIn, type WayBack } from "./presence.ts";

const WHAT = {
  invite: "observer is out",
  stuck: "observer cannot come back",
  gone: "Matrix room is gone",
} as const satisfies Record<WayBack, Difference["what"]>;

/** What is wrong with a room whose observer is not in it; null when it is. What such an observer sees is of the past. */
export async function diagnoseObserver(
  db: Db,
  homeserver: Homeserver,
  room: RoomSnapshot & { matrix_room_id: string },
): Promise<Difference | null> {
  if (await isObserverIn(homeserver, room)) return null;
  const what = WHAT[await findWayBack(db, homeserver, room)];
  return { what, wanted: what === "Matrix room is gone" ? room.name : room.observer_matrix_id, found: null };
}
