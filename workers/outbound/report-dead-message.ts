import { DEAD_REASONS, type DeadCode } from "../../shared/db/messages/dead-messages.ts";
import type { TimelinePosition } from "../../shared/db/timeline/pages.ts";
import { formatRoomKey, type RoomKind } from "../../shared/contract/names.ts";
import { publishFailed } from "../../shared/timeline/publish-unnumbered.ts";
import type { WorkerContext } from "../runtime/context.ts";

/**
 * Reports a message that was just marked dead: to operators in a log line and a metric, and to the room's subscribers
 * after the entries that its timeline had then (`position`). A lost report does no harm: the message's status is in
 * Postgres.
 */
export async function reportDeadMessage(
  { redis, log, metrics }: WorkerContext,
  room: { id: string; kind: RoomKind; slug: string },
  dead: { message: string; requestId?: string | null; code: DeadCode; position: TimelinePosition },
): Promise<void> {
  const { message, requestId = null, code, position } = dead;
  metrics.messagesDead.inc({ code });
  log.error({ room: room.id, message, requestId, code }, "message dead");
  const failed = { roomId: room.id, position, room: formatRoomKey(room), id: message };
  const error = { code, message: DEAD_REASONS[code] };
  const isPublished = await publishFailed(redis, [{ ...failed, error }]);
  if (!isPublished) log.debug({ message }, "publishing a dead message failed");
}
