import { z } from "zod";
import type { WorkerContext } from "../runtime/context.ts";
import type { Homeserver } from "../matrix/homeserver/homeserver.ts";
import { MatrixFailure } from "../matrix/http/failure.ts";
import { EventType } from "../matrix/names.ts";
import { getState } from "../matrix/rooms/state.ts";
import type { RoomLease } from "../runtime/room-lease.ts";
import type { RoomSnapshot } from "../../shared/db/rooms/work-room.ts";

const creation = z.object({ predecessor: z.object({ room_id: z.string() }) });

/**
 * An upgraded room goes on in its successor, when that names it as its predecessor and the observer is in it: else the
 * tombstone is not believed. Nobody but the observer is in the new room yet, so everybody's join and level is due again.
 * Answers the Matrix id that the room has now.
 * @throws MatrixFailure when the homeserver does not say what the successor is: the tombstone is not told again.
 */
export async function followUpgrade(
  context: WorkerContext,
  homeserver: Homeserver,
  room: RoomSnapshot & { matrix_room_id: string; successor_matrix_room_id: string },
  lease: RoomLease,
): Promise<string> {
  const request = await homeserver.as(room.observer_matrix_id);
  lease.check();
  const state = await getState(request, {
    matrixRoomId: room.successor_matrix_room_id,
    type: EventType.RoomCreate,
  }).catch(nullIfRefused);
  const parsed = creation.safeParse(state);
  const isBelieved = parsed.success && parsed.data.predecessor.room_id === room.matrix_room_id;
  if (!isBelieved) {
    await context.db.raw("update rooms set successor_matrix_room_id = null where id = ?", [room.id]);
    context.log.error({ room: room.id }, "the room names a successor that is not its own: not followed");
    return room.matrix_room_id;
  }
  await context.db.raw(
    `with moved as (
       update memberships set applied = 'out', applied_level = 0, applied_version = 0 where room_id = :id and applied = 'in'
     )
     update rooms set matrix_room_id = :successor, successor_matrix_room_id = null,
            desired_version = desired_version + 1, next_attempt_at = now(),
            members_desired_version = members_desired_version + 1, members_next_attempt_at = now()
      where id = :id and exists (select 1 from room_outbox where room_id = :id and fence = :fence and lease_until > now())`,
    { id: room.id, successor: room.successor_matrix_room_id, fence: lease.fence },
  );
  context.metrics.driftRepaired.inc({ what: "upgrade" });
  context.log.warn({ room: room.id }, "the room was upgraded on Matrix: followed");
  return room.successor_matrix_room_id;
}

function nullIfRefused(error: unknown): null {
  if (error instanceof MatrixFailure && error.kind === "forbidden") return null;
  throw error;
}
