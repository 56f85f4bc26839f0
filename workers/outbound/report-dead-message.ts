import type { DeadCode } from "../../shared/db/messages/dead/dead-messages.ts";
import type { AppendedRow } from "../../shared/timeline/append.ts";
import { publishAppended } from "../../shared/timeline/publish.ts";
import { wakeConsumers } from "../consumers/wake.ts";
import type { WorkerContext } from "../runtime/context.ts";

/** These follow from something else, which is reported itself or is no failure. */
const FOLLOWING: readonly DeadCode[] = ["sender_removed", "target_deleted", "target_dead"];

/**
 * Reports a message that was just marked dead, with the acts that died with it: to operators in a log line and a metric, and to the room's subscribers by its
 * entries. What is not published here, the sweeper publishes.
 */
export async function reportDeadMessage(
  context: WorkerContext,
  entries: readonly AppendedRow[],
  dead: { room: string; message: string; requestId: string | null; code: DeadCode },
): Promise<void> {
  const { log, metrics, sent } = context;
  metrics.messagesDead.inc({ code: dead.code });
  const acts = entries.filter(({ type }) => type === "message.failed").length - 1;
  if (acts > 0) metrics.messagesDead.inc({ code: "target_dead" }, acts);
  if (FOLLOWING.includes(dead.code)) log.info(dead, "message dead");
  else log.error(dead, "message dead");
  sent.add([dead.room]);
  wakeConsumers(context, entries);
  await publishAppended(context, entries).catch((error: unknown) => {
    log.warn({ err: error, room: dead.room }, "publishing a dead message failed: the sweeper repeats it");
  });
}
