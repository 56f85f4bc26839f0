import type { WorkerContext } from "../runtime/context.ts";
import type { Homeserver } from "../matrix/homeserver/homeserver.ts";
import { ensureMatrixRoom } from "../matrix/rooms/ensure-matrix-room.ts";
import { EventType } from "../matrix/names.ts";
import { putState } from "../matrix/rooms/state.ts";
import type { RoomLease } from "../runtime/room-lease.ts";
import { ensureObserver } from "./ensure-account.ts";
import { followUpgrade } from "./follow-upgrade.ts";
import { rejoinObserver } from "./rejoin-observer.ts";
import type { RoomSnapshot } from "../../shared/db/rooms/work-room.ts";

/** The room on Matrix, under its lease: exists after this. Answers its Matrix id. */
export async function ensureRoom(
  context: WorkerContext,
  homeserver: Homeserver,
  room: RoomSnapshot,
  lease: RoomLease,
): Promise<string> {
  if (room.matrix_room_id !== null)
    return mendRoom(context, homeserver, { ...room, matrix_room_id: room.matrix_room_id }, lease);
  if (!room.observer_is_registered) {
    await ensureObserver(context, homeserver, {
      id: room.observer_id,
      matrixUserId: room.observer_matrix_id,
    });
  }
  lease.check();
  const matrixRoomId = await ensureMatrixRoom(await homeserver.as(room.observer_matrix_id), {
    identity: { tenantId: room.tenant_id, kind: room.kind, slug: room.slug, generation: room.generation },
    serverName: homeserver.serverName,
    observerMatrixId: room.observer_matrix_id,
    description: describe(room),
  });
  await context.db.raw(
    `update rooms set matrix_room_id = :matrixRoomId, applied_version = :version, attempts = 0, error = null,
            status = case when desired_version = :version then 'ready' else status end,
            next_attempt_at = case when desired_version > :version or deleted_at is not null then now() end
      where id = :id and exists (select 1 from room_outbox where room_id = :id and fence = :fence and lease_until > now())`,
    { matrixRoomId, version: room.desired_version, id: room.id, fence: lease.fence },
  );
  return matrixRoomId;
}

/** An existing room whose observer was put out, or that was upgraded: the observer reads on, in the room as it is now. */
async function mendRoom(
  context: WorkerContext,
  homeserver: Homeserver,
  room: RoomSnapshot & { matrix_room_id: string },
  lease: RoomLease,
): Promise<string> {
  if (room.observer_is_out) await rejoinObserver(context, homeserver, room, lease);
  if (room.successor_matrix_room_id === null) return room.matrix_room_id;
  return followUpgrade(
    context,
    homeserver,
    { ...room, successor_matrix_room_id: room.successor_matrix_room_id },
    lease,
  );
}

/** Brings name, topic and picture of an existing room to what the tenant wants. */
export async function describeRoom(
  context: WorkerContext,
  homeserver: Homeserver,
  room: RoomSnapshot & { matrix_room_id: string },
  lease: RoomLease,
): Promise<void> {
  const request = await homeserver.as(room.observer_matrix_id);
  const { name, topic, avatar } = describe(room);
  const states = [
    { type: EventType.RoomName, content: { name } },
    // Synapse refuses a topic event without a topic: an empty one is none.
    { type: EventType.RoomTopic, content: { topic: topic ?? "" } },
    { type: EventType.RoomAvatar, content: avatar === null ? {} : { url: avatar } },
  ];
  for (const state of states) {
    lease.check();
    await putState(request, { matrixRoomId: room.matrix_room_id, ...state });
  }
  await context.db.raw(
    `update rooms set applied_version = :version, attempts = 0, error = null,
            status = case when desired_version = :version then 'ready' else status end,
            next_attempt_at = case when desired_version > :version or deleted_at is not null then now() end
      where id = :id`,
    { version: room.desired_version, id: room.id },
  );
}

function describe(room: RoomSnapshot): { name: string; topic: string | null; avatar: string | null } {
  return { name: room.name, topic: room.topic, avatar: room.avatar };
}
