import { isLeaseLost, isRepeatable, isViewStale } from "../../shared/db/connection/failures.ts";
import type { WorkerContext } from "../runtime/context.ts";
import type { SyncResponse } from "../matrix/sync/fetch-changes.ts";
import { applySyncPlan, applyOwn, type Applied } from "./apply-plan.ts";
import { lookUp, type Reader, type Seen } from "./look-up.ts";
import { planSync, type SyncPlan } from "./sync-plan.ts";
import { markObserverOut, savePositionAndRequire } from "../../shared/db/observers/observed-rooms.ts";
import { recordGaps } from "../../shared/db/observers/room-gaps.ts";
import { ObserverLeaseLost, type ObserverRun } from "./observers/observer-run.ts";
import { readOwnEvents, type OwnEvent } from "./own-messages.ts";
import { redactDuplicates } from "./redact-duplicates.ts";
import { parseSyncBatch, type SyncBatch } from "./sync-batch.ts";
import { countApplied, publishApplied } from "./publish-applied.ts";

/** Looks at the tables, beginning with the first; more often, and somebody changes them all the time. */
const LOOKS_AT_MOST = 5;

/**
 * Puts one answer of `/sync` into the timelines, or into gaps, with the position in the same transaction; then
 * publishes and wakes. An answer of our own messages alone is saved in one round trip, which every message waits for.
 * What is to be done with any other is decided from a look at the tables. Either transaction requires that of lease,
 * rooms and gaps they still say what it was made from.
 * @throws ObserverLeaseLost
 */
export async function saveChanges(
  context: WorkerContext,
  run: ObserverRun,
  since: string,
  changes: SyncResponse,
): Promise<void> {
  const batch = parseSyncBatch(since, changes);
  const isPlain = batch.left.length === 0 && !batch.rooms.some(({ isCut }) => isCut);
  const own = isPlain ? readOwnEvents(batch.rooms, run.known) : null;
  if (own !== null && (await saveOwn(context, run, batch, own))) return;
  await saveSeen(context, run, batch);
}

/** Answers false, and has saved nothing, when the tables have it otherwise. @throws ObserverLeaseLost */
async function saveOwn(
  context: WorkerContext,
  { observer, fence, known }: ObserverRun,
  { to, rooms }: SyncBatch,
  own: readonly OwnEvent[],
): Promise<boolean> {
  const matrixRoomIds = rooms.map(({ matrixRoomId }) => matrixRoomId);
  const ids = new Set(own.map(({ roomId }) => roomId));
  const require = savePositionAndRequire(
    { observerId: observer.observer_id, fence, since: to },
    { matrixRoomIds, rooms: [...ids].map((id) => ({ id, gap_from: null })) },
  );
  const applied = await applyOwn(context.db, { require, own }).catch(nullIfStale);
  if (applied === null) {
    for (const id of matrixRoomIds) known.delete(id);
    return false;
  }
  context.metrics.syncEvents.inc(own.length);
  await publishApplied(context, applied);
  return true;
}

/** Null when looking at the tables again may help. @throws ObserverLeaseLost, or what it was given. */
function nullIfStale(error: unknown): null {
  if (isLeaseLost(error)) throw new ObserverLeaseLost();
  if (!(isViewStale(error) || isRepeatable(error))) throw error;
  return null;
}

async function saveSeen(context: WorkerContext, run: ObserverRun, batch: SyncBatch): Promise<void> {
  const reader = await createReader(context, run);
  for (let look = 1; ; look++) {
    const seen = await lookUp(context.db, reader, batch.rooms);
    const plan = planSaving(batch, seen);
    const applied = await save(context, run, batch, seen, plan).catch((error: unknown) => {
      const again = nullIfStale(error);
      if (look >= LOOKS_AT_MOST) throw error;
      return again;
    });
    if (applied) {
      remember(run.known, seen, plan);
      return afterSaving(context, run, seen, { ...plan, applied });
    }
  }
}

/** Rooms that are remembered; whoever is busy in more looks them up. */
const KNOWN_AT_MOST = 10_000;

function remember(known: Map<string, string>, { rooms }: Seen, { gapped }: Plan): void {
  if (known.size + rooms.length > KNOWN_AT_MOST) known.clear();
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

/** `gapped`: rooms in which something before was not read; their events come after it, and are read again with it. */
type Plan = { plan: SyncPlan; gapped: Seen["rooms"] };

function planSaving({ rooms }: SyncBatch, seen: Seen): Plan {
  const cut = new Set(rooms.flatMap(({ matrixRoomId, isCut }) => (isCut ? [matrixRoomId] : [])));
  const gapped = seen.rooms.filter((room) => room.gap_from !== null || cut.has(room.matrix_room_id));
  const gappedIds = new Set(gapped.map(({ id }) => id));
  const whole = seen.events.filter(({ roomId }) => !gappedIds.has(roomId));
  return { gapped, plan: planSync(whole, seen.facts) };
}

function save(
  context: WorkerContext,
  { observer, fence }: ObserverRun,
  { from, to, rooms, left }: SyncBatch,
  seen: Seen,
  { plan, gapped }: Plan,
): Promise<Applied> {
  const observerId = observer.observer_id;
  const outOfSight = [...gapped.map((room) => room.matrix_room_id), ...left];
  return applySyncPlan(context.db, {
    require: savePositionAndRequire(
      { observerId, fence, since: to },
      { matrixRoomIds: rooms.map(({ matrixRoomId }) => matrixRoomId), rooms: seen.rooms },
    ),
    plan,
    also: [
      ...(outOfSight.length > 0 ? [recordGaps(observerId, outOfSight, { from, to })] : []),
      ...(left.length > 0 ? [markObserverOut(observerId, left)] : []),
    ],
  });
}

async function afterSaving(
  context: WorkerContext,
  { observer }: ObserverRun,
  { rooms }: Seen,
  { applied, plan, gapped }: Plan & { applied: Applied },
): Promise<void> {
  const told = publishApplied(context, applied);
  if (rooms.length === 0) return told;
  const tenantId = observer.tenant_id;
  countApplied(context, plan, gapped.length);
  const wakes = [
    ...gapped.map((room) => context.wake("room-sync", { tenantId, roomId: room.id })),
    ...plan.configurationDrifts.map((drift) =>
      drift.what === "levels"
        ? context.wake("membership", { tenantId, roomId: drift.roomId })
        : context.wake("provisioning", { tenantId, subject: "room" as const, id: drift.roomId }),
    ),
  ];
  await Promise.all([told, ...wakes]);
  await redactDuplicates(context, observer, plan, rooms);
}
