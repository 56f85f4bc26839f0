import { listRoomsWithObserver, noteObserverOut } from "../../../shared/db/observers/observed-rooms.ts";
import { listJoinedRooms } from "../../matrix/rooms/members.ts";
import type { WorkerContext } from "../../runtime/context.ts";
import type { ObserverRun } from "./observer-run.ts";

/** How often an observer's rooms are compared with those that the homeserver says it is in. */
const EVERY_MS = 300_000;

/**
 * Notes the rooms that the observer is not in any more though no response showed it leave: the homeserver's operator deleted
 * them, or their events are gone. The provisioning of each brings the observer back, or makes a new Matrix room. Looks after
 * the first response that is saved, when the observer has moved, and every 5 minutes. A failure is logged: the next look
 * repeats it.
 */
export async function noteLeftRooms(context: WorkerContext, run: ObserverRun, nowMs: number): Promise<void> {
  const { observer, reading } = run;
  if (reading.roomsComparedAtMs !== null && nowMs - reading.roomsComparedAtMs < EVERY_MS) return;
  reading.roomsComparedAtMs = nowMs;
  try {
    const homeserver = await context.homeserver(observer.homeserver_id);
    // Our rooms before the joined ones: the observer joins a room on Matrix before the room is among ours.
    const rooms = await listRoomsWithObserver(context.db, observer.observer_id);
    if (rooms.length === 0) return;
    const joined = new Set(await listJoinedRooms(await homeserver.as(observer.matrix_user_id)));
    const left = rooms.filter((matrixRoomId) => !joined.has(matrixRoomId));
    if (left.length === 0) return;
    const noted = await noteObserverOut(context.db, observer.observer_id, left);
    for (const room of noted) context.log.error({ room }, "the observer is not in the room any more");
  } catch (error) {
    context.log.warn({ err: error }, "comparing the observer's rooms failed");
  }
}
