import { dropOldWaiting, findAdoptable, type WaitingAct } from "../../shared/db/acts/waiting-acts.ts";
import { isViewStale } from "../../shared/db/connection/failures.ts";
import { lockTimeline } from "../../shared/db/timeline/append.ts";
import type { WorkerContext } from "../runtime/context.ts";
import { applySyncPlan } from "./apply-plan.ts";
import { publishApplied } from "./publish-applied.ts";
import { planWaiting } from "./sync-plan.ts";

/** The next run, a minute later, takes the rest. */
const ADOPTED_AT_ONCE = 100;

/**
 * Carries out acts from Matrix that waited for their targets, where these have come without them: whoever reads a target
 * takes its acts at once. Two processes may run it: an act is carried out once. Where one of a room's has been taken or withdrawn
 * meanwhile, the next run takes the others.
 */
export async function adoptWaiting(context: WorkerContext): Promise<void> {
  const byRoom = new Map<string, (WaitingAct & { tenant_id: string })[]>();
  for (const act of await findAdoptable(context.db, ADOPTED_AT_ONCE))
    byRoom.set(act.room_id, [...(byRoom.get(act.room_id) ?? []), act]);
  for (const [roomId, acts] of byRoom) {
    const plan = planWaiting(roomId, acts);
    const applied = await applySyncPlan(context.db, { require: lockTimeline(roomId), plan, also: [] }).catch(
      nullIfStale,
    );
    if (applied === null) continue;
    await publishApplied(context, acts[0]?.tenant_id ?? "", applied);
    context.log.info({ room: roomId, acts: acts.length }, "acts that waited for their messages carried out");
  }
}

/** Null where the acts do not all wait any more. @throws any other error as it is */
function nullIfStale(error: unknown): null {
  if (!isViewStale(error)) throw error;
  return null;
}

/** How long an act waits. */
const KEPT = "30 days";
const DROPPED_AT_ONCE = 5_000;

/** Drops acts whose targets have not come. */
export async function dropWaiting({ db, log }: WorkerContext): Promise<void> {
  const dropped = await dropOldWaiting(db, KEPT, DROPPED_AT_ONCE);
  if (dropped > 0) log.info({ acts: dropped }, "acts whose messages did not come dropped");
}
