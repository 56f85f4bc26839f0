import type { SettledMessage } from "../../shared/db/messages/settle.ts";
import type { AppendedRow } from "../../shared/timeline/append.ts";
import { publishAppended, publishRooms } from "../../shared/timeline/publish.ts";
import { wakeConsumers } from "../consumers/wake.ts";
import type { WorkerContext } from "../runtime/context.ts";
import type { Applied } from "./apply-plan.ts";
import type { SyncPlan } from "./sync-plan.ts";

/** Publishes what was appended to rooms of a tenant, and how far Matrix has them. */
export async function publishApplied(
  context: WorkerContext,
  tenantId: string,
  applied: Applied,
): Promise<void> {
  if (applied.appended.length + applied.settled.length > 0)
    context.hitFailpoint("between timeline commit and publish");
  reportSeen(context, applied.settled);
  const { appended, acted } = applied;
  // A message may be deleted in the transaction that appended it.
  await Promise.all([
    publish(
      context,
      appended.filter((row) => !acted.includes(row.room_id)),
    ),
    publishActed(context, tenantId, acted),
  ]);
}

/** Publishes rooms in which acts were carried out, from the tables. Never throws: the sweeper publishes what fails here. */
async function publishActed(
  context: WorkerContext,
  tenantId: string,
  roomIds: readonly string[],
): Promise<void> {
  if (roomIds.length === 0) return;
  try {
    await publishRooms(context, roomIds);
  } catch (error) {
    context.log.warn({ err: error, rooms: roomIds.length }, "publishing failed: the sweeper repeats it");
  }
  wakeConsumers(
    context,
    roomIds.map((roomId) => ({ tenant_id: tenantId, room_id: roomId })),
  );
}

/** Never throws: the sweeper publishes what fails here. */
export async function publish(context: WorkerContext, appended: readonly AppendedRow[]): Promise<void> {
  if (appended.length === 0) return;
  const endLag = context.metrics.publishLag.startTimer();
  try {
    await publishAppended(context, appended);
    endLag();
  } catch (error) {
    context.log.warn({ err: error, entries: appended.length }, "publishing failed: the sweeper repeats it");
  }
  wakeConsumers(context, appended);
}

/** Logs the messages of ours that were seen, and has it published how far Matrix has their rooms. */
export function reportSeen({ log, sent }: WorkerContext, settled: readonly SettledMessage[]): void {
  const seen = settled.filter(({ outcome }) => outcome === "seen");
  sent.add(seen.map(({ room }) => room));
  for (const { room, message, requestId, number } of seen)
    log.info({ room, message, requestId, number }, "message seen on Matrix");
}

/** Counts what a plan changed, and reports rooms that were encrypted. */
export function countApplied(
  { metrics, log }: WorkerContext,
  plan: SyncPlan,
  { refused }: Pick<Applied, "refused">,
  gaps: number,
): void {
  metrics.syncEvents.inc(
    plan.steps.reduce((sum, step) => sum + (step.kind === "entries" ? step.entries.length : 1), 0),
  );
  if (refused > 0) metrics.driftRepaired.inc({ what: "acts" }, refused);
  if (gaps > 0) metrics.gaps.inc(gaps);
  if (plan.forged > 0) metrics.markersForged.inc(plan.forged);
  for (const drift of plan.configurationDrifts) metrics.driftRepaired.inc({ what: drift.what });
  for (const roomId of plan.encrypted) {
    metrics.encryptedRooms.inc();
    log.error({ room: roomId }, "the room is encrypted on Matrix: its messages cannot be read");
  }
}
