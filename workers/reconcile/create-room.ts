import type { RoomSnapshot } from "../../shared/db/rooms/room-snapshot.ts";
import type { WorkerContext } from "../runtime/context.ts";
import type { Homeserver } from "../matrix/homeserver/homeserver.ts";
import { unlessForbidden } from "../matrix/http/failure.ts";
import {
  aliasLocalpart,
  ensureMatrixRoom,
  removeAlias,
  type RoomIdentity,
} from "../matrix/rooms/ensure-matrix-room.ts";
import type { RoomLease } from "../runtime/room-lease.ts";

/**
 * Creates the Matrix room of a room; `predecessor`: the Matrix room that it replaces. May be repeated: a room that a former
 * try created is found by its alias.
 */
export async function createMatrixRoom(
  _context: WorkerContext,
  homeserver: Homeserver,
  room: RoomSnapshot,
  { lease, predecessor }: { lease: RoomLease; predecessor: string | null },
): Promise<{ matrixRoomId: string; isNew: boolean }> {
  const request = await homeserver.as(room.observer_matrix_id);
  const { name, topic, avatar } = room;
  const wanted = {
    identity: identityOf(room),
    serverName: homeserver.serverName,
    observerMatrixId: room.observer_matrix_id,
    description: { name, topic, avatar },
  };
  lease.check();
  const matrixRoomId = await ensureMatrixRoom(request, wanted);
  if (matrixRoomId !== predecessor) return { matrixRoomId, isNew: true };
  lease.check();
  await unlessForbidden(removeAlias(request, `#${aliasLocalpart(wanted.identity)}:${homeserver.serverName}`));
  return { matrixRoomId: await ensureMatrixRoom(request, wanted), isNew: true };
}

export function identityOf(room: RoomSnapshot): RoomIdentity {
  return { tenantId: room.tenant_id, kind: room.kind, slug: room.slug, generation: room.generation };
}
