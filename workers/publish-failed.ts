import type { TimelinePosition } from "../shared/db/timeline.ts";
import { formatRoomKey, type RoomKind } from "../shared/names.ts";
import { publishFailed as publishAll } from "../shared/pending.ts";
import type { WorkerContext } from "./context.ts";

/**
 * Tells a room that a message will never be sent, behind what its timeline had when that was decided. A hint: the
 * message's status is the truth, so a loss is no harm.
 */
export async function publishFailed(
  { redis, log }: WorkerContext,
  room: { id: string; kind: RoomKind; slug: string },
  { id, code, reason, position }: { id: string; code: string; reason: string; position: TimelinePosition },
): Promise<void> {
  const error = { code, message: reason };
  const isTold = await publishAll(redis, [
    { roomId: room.id, position, room: formatRoomKey(room), id, error },
  ]);
  if (!isTold) log.debug({ message: id }, "telling of a dead message failed");
}
