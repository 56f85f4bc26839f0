import { publishAppended } from "../../shared/timeline/publish.ts";
import type { WorkerContext } from "../runtime/context.ts";
import type { Applied, ToldMessage } from "./apply-plan.ts";
import type { Meaning } from "./sync-plan.ts";

/** Publishes what was appended first, since people wait for it. */
export async function tell(context: WorkerContext, applied: Applied): Promise<void> {
  if (applied.appended.length > 0) context.reach("between timeline commit and publish");
  const published = publish(context, applied);
  logTold(context, applied.told);
  await published;
}

/** What is not published now is found by the sweeper: reading goes on. */
export async function publish(context: WorkerContext, { appended }: Applied): Promise<void> {
  if (appended.length === 0) return;
  const endLag = context.metrics.publishLag.startTimer();
  try {
    await publishAppended(context, appended);
    endLag();
  } catch (error) {
    context.log.warn({ err: error, entries: appended.length }, "publishing failed: the sweeper repeats it");
  }
}

export function logTold({ log }: WorkerContext, told: readonly ToldMessage[]): void {
  for (const message of told) log.info(message, "message told");
}

export function count(context: WorkerContext, meaning: Meaning, gaps: number): void {
  const { metrics, log } = context;
  metrics.syncEvents.inc(meaning.entries.reduce((sum, room) => sum + room.entries.length, 0));
  if (gaps > 0) metrics.gaps.inc(gaps);
  if (meaning.forged > 0) metrics.markersForged.inc(meaning.forged);
  for (const drift of meaning.drifts) metrics.driftRepaired.inc({ what: drift.what });
  for (const roomId of meaning.encrypted) {
    metrics.encryptedRooms.inc();
    log.error({ room: roomId }, "the room is encrypted on Matrix: its messages cannot be read");
  }
}
