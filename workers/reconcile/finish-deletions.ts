import { beginErasure } from "../../shared/db/users/erasures.ts";
import { finishRoomDeletion, leaveNextRooms } from "../../shared/timeline/ending/finish-deletions.ts";
import { publishUserEventOutbox } from "../../shared/timeline/publish-user-events.ts";
import { publishRooms } from "../../shared/timeline/publish.ts";
import type { WorkerContext } from "../runtime/context.ts";

/** The sweeper publishes the rest. */
const MAX_USER_EVENTS = 500;

/** Ends what a room has that a domain event deleted: such a deletion is only marked. Needs no homeserver. */
export async function finishRoom(context: WorkerContext, tenantId: string, roomId: string): Promise<void> {
  if (await finishRoomDeletion(context.db, tenantId, roomId))
    await publishUserEventOutbox(context, MAX_USER_EVENTS);
}

/**
 * Takes a user whom a domain event deleted out of all rooms, deletes the direct ones, and begins the erasure that
 * the event wants, on the same terms.
 */
export async function finishUser(context: WorkerContext, tenantId: string, userId: string): Promise<void> {
  for (;;) {
    const rooms = await leaveNextRooms(context.db, tenantId, userId);
    if (rooms === null) break;
    await publishRooms(context, rooms.left);
    await publishUserEventOutbox(context, MAX_USER_EVENTS);
    for (const roomId of rooms.left) await context.wake("membership", { tenantId, roomId });
    for (const id of rooms.deleted) await context.wake("provisioning", { tenantId, subject: "room", id });
  }
  if (await beginErasure(context.db, userId)) await context.wake("erasure", { tenantId, userId });
}
