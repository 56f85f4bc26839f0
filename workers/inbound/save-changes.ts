import { isLeaseLost, isRepeatable, isViewStale } from "../../shared/db/connection/failures.ts";
import { markObserverOut, savePositionAndRequire } from "../../shared/db/observers/observed-rooms.ts";
import { recordGaps } from "../../shared/db/observers/room-gaps.ts";
import type { WorkerContext } from "../runtime/context.ts";
import type { SyncResponse } from "../matrix/sync/fetch-changes.ts";
import { applyOwnMessages, applySyncPlan, type Applied } from "./apply-plan.ts";
import { lookUp, type Reader, type Seen } from "./look-up.ts";
import { ObserverLeaseLost, type ObserverRun } from "./observers/observer-run.ts";
import { readOwnEvents, type OwnEvents } from "./own-messages.ts";
import { countApplied, publishApplied } from "./publish-applied.ts";
import { duplicatesOf, redactDuplicates } from "./redact-duplicates.ts";
import { parseSyncBatch, type SyncBatch } from "./sync-batch.ts";
import { joinPlans, keepOwn, planSync, roomsToLock, type SyncPlan } from "./sync-plan.ts";

/** Tries of one batch: each looks up its rows again, since another transaction changed them after the look-up. */
const TRIES_AT_MOST = 5;

/**
 * Appends one sync batch to the timelines, or records gaps, and saves the position in the same transaction; then publishes
 * and wakes. A batch of our own messages alone is saved in one round trip, since every message waits for it. For any other
 * batch a look-up comes first. Both transactions require that lease, rooms and gaps are as they were read.
 * @throws ObserverLeaseLost
 */
export async function saveChanges(
  context: WorkerContext,
  run: ObserverRun,
  since: string,
  changes: SyncResponse,
): Promise<void> {
  const batch = parseSyncBatch(since, changes);
  const isWhole = batch.left.length === 0 && !batch.rooms.some(({ isCut }) => isCut);
  const own = isWhole ? readOwnEvents(batch.rooms, run.known) : null;
  if (own !== null && (await saveOwn(context, run, batch, own))) return;
  await saveWithLookUp(context, run, batch);
}

/** Returns false, and saves nothing, when the rows are not as the events claim. @throws ObserverLeaseLost */
async function saveOwn(
  context: WorkerContext,
  { observer, fence, known }: ObserverRun,
  { to, rooms }: SyncBatch,
  own: OwnEvents,
): Promise<boolean> {
  const require = savePositionAndRequire(
    { observerId: observer.observer_id, fence, since: to },
    { matrixRoomIds: [], rooms: [] },
  );
  const applied = await applyOwnMessages(context.db, { require, own }).catch(nullIfStale);
  if (applied === null) {
    for (const { matrixRoomId } of rooms) known.delete(matrixRoomId);
    return false;
  }
  context.metrics.syncEvents.inc(own.claimed.length);
  await publishApplied(context, observer.tenant_id, applied);
  await redactDuplicates(
    context,
    observer,
    duplicatesOf({ duplicates: [] }, applied),
    rowsOfRooms(rooms, known),
  );
  return true;
}

function rowsOfRooms(rooms: SyncBatch["rooms"], known: ObserverRun["known"]) {
  return rooms.flatMap(({ matrixRoomId }) => {
    const id = known.get(matrixRoomId);
    return id === undefined ? [] : [{ id, matrix_room_id: matrixRoomId }];
  });
}

/** Null when a new look-up may succeed. @throws ObserverLeaseLost, or any other error as it is. */
function nullIfStale(error: unknown): null {
  if (isLeaseLost(error)) throw new ObserverLeaseLost();
  if (!(isViewStale(error) || isRepeatable(error))) throw error;
  return null;
}

async function saveWithLookUp(context: WorkerContext, run: ObserverRun, batch: SyncBatch): Promise<void> {
  const reader = await createReader(context, run);
  for (let attempt = 1; ; attempt++) {
    const seen = await lookUp(context.db, reader, batch.rooms);
    const plan = planBatch(batch, seen);
    const applied = await save(context, run, batch, seen, plan).catch((error: unknown) => {
      const stale = nullIfStale(error);
      if (attempt >= TRIES_AT_MOST) throw error;
      return stale;
    });
    if (applied) {
      remember(run.known, seen, plan);
      return afterSaving(context, run, seen, { ...plan, applied });
    }
  }
}

function remember(known: ObserverRun["known"], { rooms }: Seen, { gapped }: BatchPlan): void {
  for (const room of rooms) {
    if (gapped.includes(room)) known.delete(room.matrix_room_id);
    else known.set(room.matrix_room_id, room.id);
  }
}

async function createReader(context: WorkerContext, { observer }: ObserverRun): Promise<Reader> {
  const homeserver = await context.homeserver(observer.homeserver_id);
  return {
    observerId: observer.observer_id,
    tenantId: observer.tenant_id,
    matrixUserId: observer.matrix_user_id,
    request: await homeserver.as(observer.matrix_user_id),
  };
}

/** `gapped`: rooms with a gap, old or new. Their events come after it: the gap's filling reads them too. */
type BatchPlan = { plan: SyncPlan; gapped: Seen["rooms"] };

function planBatch({ rooms }: SyncBatch, seen: Seen): BatchPlan {
  const cut = new Set(rooms.flatMap(({ matrixRoomId, isCut }) => (isCut ? [matrixRoomId] : [])));
  const gapped = seen.rooms.filter((room) => room.gap_from !== null || cut.has(room.matrix_room_id));
  const gappedIds = new Set(gapped.map(({ id }) => id));
  const whole = seen.events.filter(({ roomId }) => !gappedIds.has(roomId));
  const waiting = seen.events.filter(({ roomId }) => gappedIds.has(roomId));
  return {
    gapped,
    plan: joinPlans(planSync(whole, seen.facts), keepOwn(planSync(waiting, seen.facts))),
  };
}

function save(
  context: WorkerContext,
  { observer, fence }: ObserverRun,
  { from, to, left, rooms }: SyncBatch,
  seen: Seen,
  { plan, gapped }: BatchPlan,
): Promise<Applied> {
  const observerId = observer.observer_id;
  const toLock = roomsToLock(plan);
  const locked = seen.rooms.filter((room) => toLock.has(room.id) || gapped.includes(room));
  const found = new Set(seen.rooms.map((room) => room.matrix_room_id));
  // One of them may have become ours after the look-up.
  const unknown = rooms.map(({ matrixRoomId }) => matrixRoomId).filter((id) => !found.has(id));
  const unread = [...gapped.map((room) => room.matrix_room_id), ...left];
  return applySyncPlan(context.db, {
    require: savePositionAndRequire(
      { observerId, fence, since: to },
      { matrixRoomIds: [...locked.map((room) => room.matrix_room_id), ...unknown], rooms: locked },
    ),
    plan,
    also: [
      ...(unread.length > 0 ? [recordGaps(observerId, unread, { from, to })] : []),
      ...(left.length > 0 ? [markObserverOut(observerId, left)] : []),
    ],
  });
}

async function afterSaving(
  context: WorkerContext,
  { observer }: ObserverRun,
  { rooms }: Seen,
  { applied, plan, gapped }: BatchPlan & { applied: Applied },
): Promise<void> {
  const tenantId = observer.tenant_id;
  const published = publishApplied(context, tenantId, applied);
  if (rooms.length === 0) return published;
  countApplied(context, plan, applied, gapped.length);
  const wakes = [
    ...gapped.map((room) => context.wake("room-sync", { tenantId, roomId: room.id })),
    ...plan.configurationDrifts.map((drift) =>
      drift.what === "levels"
        ? context.wake("membership", { tenantId, roomId: drift.roomId })
        : context.wake("provisioning", { tenantId, subject: "room" as const, id: drift.roomId }),
    ),
    ...[...plan.descriptions, ...plan.pins].map(({ roomId }) =>
      context.wake("provisioning", { tenantId, subject: "room" as const, id: roomId }),
    ),
    ...plan.bans.map(({ roomId }) => context.wake("membership", { tenantId, roomId })),
    ...plan.removals.map(({ roomId }) => context.wake("membership", { tenantId, roomId })),
  ];
  await Promise.all([published, ...wakes]);
  await redactDuplicates(context, observer, duplicatesOf(plan, applied), rooms);
}
