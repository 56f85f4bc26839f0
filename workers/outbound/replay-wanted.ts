import { endBatch, makeOutboxDue } from "../../shared/db/messages/outbox.ts";
import { replayMessages } from "../../shared/db/messages/dead/replay-messages.ts";
import { clearRetryWanted, listRetryWanted } from "../../shared/db/messages/dead/retry-wanted.ts";
import type { LeasedRoom } from "../../shared/db/rooms/room-lease.ts";
import { publish } from "../inbound/publish-applied.ts";
import type { WorkerContext } from "../runtime/context.ts";
import { LeaseLost, type RoomLease } from "../runtime/room-lease.ts";

const REPLAYED_AT_ONCE = 100;

/**
 * Queues the dead messages of a room again that their senders want sent. They keep their order numbers, which are below those
 * that the drain has claimed: so the claim goes back, and the room is due at once in a new job. @throws LeaseLost
 */
export async function replayWanted(
  context: WorkerContext,
  room: LeasedRoom,
  lease: RoomLease,
): Promise<void> {
  const { db } = context;
  const { id: roomId, claimed } = room;
  const untried = claimed.filter((message) => !message.was_sending).map(({ id }) => id);
  if ((await endBatch(db, roomId, lease.fence, { sent: [], untried })) === null) throw new LeaseLost();
  const ids = await listRetryWanted(db, roomId, REPLAYED_AT_ONCE);
  const appended = await replayMessages(db, roomId, lease.fence, ids);
  if (appended === null) throw new LeaseLost();
  await clearRetryWanted(db, ids);
  await publish(context, appended);
  await makeOutboxDue(db, roomId, lease.fence);
}
