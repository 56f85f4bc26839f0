import type { TimelinePosition } from "../../shared/db/timeline/pages.ts";
import { formatRoomKey, type RoomKind } from "../../shared/contract/names.ts";
import { publishFailed } from "../../shared/timeline/publish-unnumbered.ts";
import type { WorkerContext } from "../runtime/context.ts";

/**
 * Tells operators, and its room, that a message is dead: the room behind what its timeline had when that was decided. A
 * hint: the message's status is the truth, so a loss is no harm.
 */
export async function reportDeadMessage(
  { redis, log, metrics }: WorkerContext,
  room: { id: string; kind: RoomKind; slug: string },
  given: {
    message: string;
    requestId?: string | null;
    code: string;
    reason: string;
    position: TimelinePosition;
  },
): Promise<void> {
  const { message, requestId = null, code, reason, position } = given;
  metrics.messagesDead.inc({ code });
  log.error({ room: room.id, message, requestId, code }, "message given up");
  const failed = { roomId: room.id, position, room: formatRoomKey(room), id: message };
  const isTold = await publishFailed(redis, [{ ...failed, error: { code, message: reason } }]);
  if (!isTold) log.debug({ message }, "telling of a dead message failed");
}
