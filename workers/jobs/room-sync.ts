import type { JobPayload } from "../../shared/queues/index.ts";
import { DONE, type JobResult, type WorkerContext } from "../runtime/context.ts";
import { requeueMissing } from "../outbound/requeue-missing.ts";
import { endAdoption } from "../../shared/db/rooms/matrix/adoption.ts";
import { findRoomSnapshot, type RoomSnapshot } from "../../shared/db/rooms/room-snapshot.ts";
import {
  findGap,
  FROM_BEGINNING,
  requireGap,
  rescheduleGap,
  shortenGap,
  type Gap,
} from "../../shared/db/observers/room-gaps.ts";
import { noticeObserverOut } from "../reconcile/observer/presence.ts";
import { fetchPage } from "../matrix/sync/fetch-page.ts";
import { convergeOrReschedule } from "../runtime/reschedule.ts";
import { applySyncPlan, type Applied } from "../inbound/apply-plan.ts";
import { lookUp } from "../inbound/look-up.ts";
import { planAdopted, planSync, type SyncPlan } from "../inbound/sync-plan.ts";
import { duplicatesOf, redactDuplicates } from "../inbound/redact-duplicates.ts";
import { countApplied, publishApplied } from "../inbound/publish-applied.ts";
import { newId } from "../../shared/platform/ids.ts";
import { isViewStale } from "../../shared/db/connection/failures.ts";

/** Pages that one run reads. More runs fill a longer gap, so that one gap does not keep a worker busy. */
const MAX_PAGES = 20;

/** Pause while somebody else writes to a room whose missing messages are to be queued again. */
const BUSY_PAUSE_MS = 250;

/**
 * Fills a room's gap: reads on Matrix what `/sync` left out, oldest first, and appends it to the timeline page by page.
 * While the gap is open, nothing else appends what comes from Matrix to this room. The job only reads on Matrix and needs
 * no lease. When two jobs read the same page, the second changes nothing.
 */
export async function handleRoomSync(
  context: WorkerContext,
  payload: JobPayload<"room-sync">,
): Promise<JobResult> {
  const room = await findRoomSnapshot(context.db, payload.tenantId, payload.roomId);
  if (!room || room.is_deleted || room.matrix_room_id === null) return DONE;
  const gap = await findGap(context.db, room.id);
  if (gap === null) return DONE;
  const existing = { ...room, matrix_room_id: room.matrix_room_id };
  return convergeOrReschedule(
    context,
    gap.attempts,
    async () => {
      const homeserver = await context.homeserver(room.homeserver_id);
      return noticeObserverOut(context, homeserver, existing, () => fill(context, existing));
    },
    (failure) => rescheduleGap(context.db, room.id, failure),
  );
}

async function fill(
  context: WorkerContext,
  room: RoomSnapshot & { matrix_room_id: string },
): Promise<JobResult> {
  for (let page = 0; page < MAX_PAGES && !context.stopping.aborted; page++) {
    const gap = await findGap(context.db, room.id);
    if (gap === null) return DONE;
    if (!(await fillPage(context, room, gap))) return { retryInMs: BUSY_PAUSE_MS };
  }
  return { retryInMs: 0 };
}

/** Returns false when the page must be read again a little later. */
async function fillPage(
  context: WorkerContext,
  room: RoomSnapshot & { matrix_room_id: string },
  gap: Gap,
): Promise<boolean> {
  const homeserver = await context.homeserver(room.homeserver_id);
  const request = await homeserver.as(room.observer_matrix_id);
  const page = await fetchPage(request, {
    matrixRoomId: room.matrix_room_id,
    from: gap.from === FROM_BEGINNING ? null : gap.from,
    to: gap.to,
  });
  const reader = {
    observerId: room.observer_id,
    tenantId: room.tenant_id,
    matrixUserId: room.observer_matrix_id,
    request,
  };
  const seen = await lookUp(context.db, reader, [{ matrixRoomId: room.matrix_room_id, events: page.events }]);
  const planned = planSync(seen.events, seen.facts);
  const plan = gap.isAdopting ? planAdopted(planned) : planned;
  // A page may be empty though more pages follow: its events are not for the observer to see.
  const isFilled = page.end === null || page.end === gap.from;
  const rereading = rereadingOf(gap);
  let closed = rereading === null ? gap.rereading : null;
  if (isFilled && rereading !== null) {
    const met = new Set(plan.settled.map(({ messageId }) => messageId));
    // Before the gap is closed: after a crash in between, it is open and is read again.
    const ended = await requeueMissing(context, request, room, { id: rereading, to: gap.to, met });
    if (ended === "busy") return false;
    closed = ended === "too many" ? rereading : null;
  }
  const end = isFilled ? gap.to : page.end;
  const applied = await applyPage(context, room, plan, {
    ...{ gap, end, isFilled },
    rereading: { open: rereading ?? gap.rereading, closed },
  });
  // The gap has changed since it was read: a run soon reads what is left of it.
  if (applied === null) return false;
  countApplied(context, plan, applied, 0);
  await publishApplied(context, room.tenant_id, applied);
  const observer = { homeserver_id: room.homeserver_id, matrix_user_id: room.observer_matrix_id };
  await redactDuplicates(context, observer, duplicatesOf(plan, applied), [room]);
  return true;
}

/**
 * The id of the rereading whose page is read; null where a gap is filled that does not start at the room's beginning. Each
 * first page begins another rereading. Where the first page had no id, what it met is looked up.
 */
function rereadingOf({ from, isRereading, rereading }: Gap): string | null {
  if (!isRereading) return null;
  return from === FROM_BEGINNING ? newId() : (rereading ?? newId());
}

/** Appends a page and shortens the gap by it. Returns null when the gap has changed since it was read. */
async function applyPage(
  context: WorkerContext,
  room: RoomSnapshot,
  plan: SyncPlan,
  page: Parameters<typeof shortenGap>[1],
): Promise<Applied | null> {
  try {
    return await applySyncPlan(context.db, {
      require: requireGap(room.id, page.gap.from),
      plan,
      also: [shortenGap(room.id, page), ...(page.gap.isAdopting ? [endAdoption(room.id)] : [])],
      rereading: page.gap.isRereading ? page.rereading.open : null,
    });
  } catch (error) {
    if (isViewStale(error)) return null;
    throw error;
  }
}
