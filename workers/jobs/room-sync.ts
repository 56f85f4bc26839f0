import type { JobPayload } from "../../shared/queues/index.ts";
import { DONE, type JobResult, type WorkerContext } from "../runtime/context.ts";
import { requeueMissing } from "../outbound/requeue-missing.ts";
import { findRoomSnapshot, type RoomSnapshot } from "../../shared/db/rooms/work-room.ts";
import { fetchPage } from "../matrix/sync/fetch-page.ts";
import { convergeOrReschedule } from "../runtime/reschedule.ts";
import { applySyncPlan, type Applied } from "../inbound/apply-plan.ts";
import { lookUp } from "../inbound/look-up.ts";
import { planSync, type SyncPlan } from "../inbound/sync-plan.ts";
import { FROM_BEGINNING, requireGap } from "../../shared/db/observers/observed-rooms.ts";
import { redactDuplicates } from "../inbound/redact-duplicates.ts";
import { countApplied, logPublished, publish } from "../inbound/publish-applied.ts";
import type { Statement } from "../../shared/db/connection/pipelined-transaction.ts";
import { isViewStale } from "../../shared/db/connection/failures.ts";
import { rowsOf } from "../../shared/db/connection/open.ts";

/** Pages of one run; a longer gap is filled by more runs, so that messages go out between. */
const PAGES_AT_MOST = 20;

/** While somebody else writes to a room whose forgotten messages are to be sent again. */
const BUSY_PAUSE_MS = 250;

/** `isRereading`: it began at the room's beginning. */
type Gap = { from: string; to: string; isRereading: boolean };

/**
 * Fills a room's gap: reads on Matrix what `/sync` left out, oldest first, and puts it into the timeline page by page.
 * While a gap is open, nobody else numbers what comes from Matrix for this room; it only reads there, so it needs no
 * lease, and a page that somebody else was faster with changes nothing.
 */
export async function handleRoomSync(
  context: WorkerContext,
  payload: JobPayload<"room-sync">,
): Promise<JobResult> {
  const room = await findRoomSnapshot(context.db, payload.tenantId, payload.roomId);
  if (!room || room.is_deleted || room.matrix_room_id === null) return DONE;
  const gap = await findGap(context, room.id);
  if (gap === null) return DONE;
  const existing = { ...room, matrix_room_id: room.matrix_room_id };
  return convergeOrReschedule(
    context,
    gap.attempts,
    () => fill(context, existing),
    async ({ delayMs, attempts }) => {
      await context.db.raw(
        `update room_timeline set gap_next_attempt_at = now() + ? * interval '1 millisecond', gap_attempts = ?
          where room_id = ? and gap_from is not null`,
        [delayMs, attempts, room.id],
      );
    },
  );
}

/** Null also while the observer is out of the room: how far the gap reaches is known when it is back. */
async function findGap(context: WorkerContext, roomId: string): Promise<(Gap & { attempts: number }) | null> {
  const rows = await rowsOf<Gap & { attempts: number }>(
    context.db,
    `select gap_from as "from", gap_to as "to", gap_attempts as attempts,
            is_rereading or gap_from = :beginning as "isRereading"
       from room_timeline where room_id = :roomId and gap_from is not null and gap_to is not null
        and not exists (select 1 from rooms r where r.id = room_id and r.observer_left_at is not null)`,
    { roomId, beginning: FROM_BEGINNING },
  );
  return rows[0] ?? null;
}

async function fill(
  context: WorkerContext,
  room: RoomSnapshot & { matrix_room_id: string },
): Promise<JobResult> {
  for (let page = 0; page < PAGES_AT_MOST && !context.stopping.aborted; page++) {
    const gap = await findGap(context, room.id);
    if (gap === null) return DONE;
    if (!(await fillPage(context, room, gap))) return { retryInMs: BUSY_PAUSE_MS };
  }
  return { retryInMs: 0 };
}

/** Answers false when the page is to be read again a little later. */
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
  const plan = planSync(seen.events, seen.facts);
  // A page may be empty though more comes: what it held is nothing for us to see.
  const isFilled = page.end === null || page.end === gap.from;
  if (isFilled && gap.isRereading) {
    const told = new Set(plan.settled.map(({ messageId }) => messageId));
    // Before the gap is closed: whoever dies between finds it open, and looks again.
    if (!(await requeueMissing(context, request, room, told))) return false;
  }
  const end = isFilled ? gap.to : page.end;
  const applied = await applyPage(context, room, plan, { gap, end, isFilled });
  // Another filler was faster, or reading began anew: what was read here is read again if it must be.
  if (applied === null) return true;
  logPublished(context, applied.settled);
  countApplied(context, plan, 0);
  await publish(context, applied);
  const observer = { homeserver_id: room.homeserver_id, matrix_user_id: room.observer_matrix_id };
  await redactDuplicates(context, observer, plan, [room]);
  return true;
}

/** Appends a page and shortens the gap by it; null when the gap is not what was read any more. */
async function applyPage(
  context: WorkerContext,
  room: RoomSnapshot,
  plan: SyncPlan,
  page: { gap: Gap; end: string | null; isFilled: boolean },
): Promise<Applied | null> {
  try {
    return await applySyncPlan(context.db, {
      require: requireGap(room.id, page.gap.from),
      plan,
      also: [shortenGap(room.id, page)],
    });
  } catch (error) {
    if (isViewStale(error)) return null;
    throw error;
  }
}

/** A filled stretch whose end moved on meanwhile stays open: the rest begins where the stretch ended. */
function shortenGap(
  roomId: string,
  { gap, end, isFilled }: { gap: Gap; end: string | null; isFilled: boolean },
): Statement {
  return {
    sql: `update room_timeline t
        set gap_from = case when g.is_closed then null else :end end, gap_to = case when g.is_closed then null else t.gap_to end,
            gap_attempts = 0, gap_next_attempt_at = case when g.is_closed then null else now() end,
            is_rereading = :isRereading and not g.is_closed
       from (select room_id, :isFilled and gap_to = :to as is_closed from room_timeline where room_id = :roomId) g
      where t.room_id = g.room_id`,
    bindings: { roomId, end, isFilled, to: gap.to, isRereading: gap.isRereading },
  };
}
