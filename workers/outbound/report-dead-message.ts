import type { DeadCode } from "../../shared/db/messages/dead-messages.ts";
import type { AppendedRow } from "../../shared/timeline/append.ts";
import { publishAppended } from "../../shared/timeline/publish.ts";
import { wakeConsumers } from "../consumers/wake.ts";
import type { WorkerContext } from "../runtime/context.ts";

/**
 * Reports a message that was just marked dead: to operators in a log line and a metric, and to the room's subscribers by its
 * entry. What is not published here, the sweeper publishes.
 */
export async function reportDeadMessage(
  context: WorkerContext,
  entry: AppendedRow,
  { requestId = null, code }: { requestId?: string | null; code: DeadCode },
): Promise<void> {
  const { log, metrics, sent } = context;
  const dead = { room: entry.room_id, message: entry.relates_to, requestId, code };
  metrics.messagesDead.inc({ code });
  // A removal is no failure.
  if (code === "sender_removed") log.info(dead, "message dead");
  else log.error(dead, "message dead");
  sent.add([entry.room_id]);
  wakeConsumers(context, [entry]);
  await publishAppended(context, [entry]).catch((error: unknown) => {
    log.warn({ err: error, room: entry.room_id }, "publishing a dead message failed: the sweeper repeats it");
  });
}
