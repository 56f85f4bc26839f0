import { replaceBySuccessor as recordSuccessor } from "../../shared/db/rooms/matrix/room-provisioning.ts";
import type { RoomSnapshot } from "../../shared/db/rooms/room-snapshot.ts";
import type { Homeserver } from "../matrix/homeserver/homeserver.ts";
import { fetchPosition } from "../matrix/sync/fetch-changes.ts";
import { unseenMessages } from "../outbound/find-missing.ts";
import { requeue } from "../outbound/requeue-missing.ts";
import type { WorkerContext } from "../runtime/context.ts";
import type { RoomLease } from "../runtime/room-lease.ts";

/**
 * Puts another Matrix room, in which the observer is, in the place of a room's former one. The history here stays, and its
 * numbers go on; what no observer has read in the former one is sent again, in its old order: a drain under way must start
 * again. The room's description and all its members are due, and the other room is read from its beginning. May be repeated.
 */
export async function replaceBySuccessor(
  context: WorkerContext,
  homeserver: Homeserver,
  room: RoomSnapshot,
  { successor, lease }: { successor: string; lease: RoomLease },
): Promise<void> {
  lease.check();
  const to = await fetchPosition(await homeserver.as(room.observer_matrix_id));
  await requeueUnseen(context, room.id, lease);
  await recordSuccessor(context.db, room.id, { fence: lease.fence, successor, to });
}

/**
 * Queues the messages again that the former Matrix room accepted and that the observer has not seen, before anything is sent
 * to the new one: so they keep their order.
 */
async function requeueUnseen(context: WorkerContext, roomId: string, lease: RoomLease): Promise<void> {
  for await (const unseen of unseenMessages(context.db, roomId))
    await requeue(context, roomId, lease, unseen);
}
