import { transactAtOnce, type Statement } from "../../shared/db/at-once.ts";
import { isLeaseGone, isRepeatable, isViewStale } from "../../shared/db/failures.ts";
import { publishAppended } from "../../shared/timeline/publish.ts";
import type { WorkerContext } from "../context.ts";
import type { SyncAnswer } from "../matrix/sync-api.ts";
import { applyMeaning, applyOwn, type Applied, type ToldMessage } from "./apply.ts";
import { lookUp, type Offered, type Reader, type Seen } from "./facts.ts";
import { readMeaning, type Meaning } from "./meaning.ts";
import type { ObserverRun } from "./observer-run.ts";
import { readOwnEvents, type OwnEvent } from "./own-messages.ts";
import {
  FROM_BEGINNING,
  noteObserverOut,
  recordGaps,
  recordGapsOfObserver,
  savePositionAndRequire,
} from "./observed-rooms.ts";
import { redactDoubles } from "./redact-doubles.ts";

/** Somebody else runs this observer now: nothing of ours may be saved. */
export class ObserverLeaseLost extends Error {
  constructor() {
    super("the observer's lease ended");
    this.name = "ObserverLeaseLost";
  }
}

/** Looks at the tables, beginning with the first; more often, and somebody changes them all the time. */
const LOOKS_AT_MOST = 5;
/** Rooms that are woken at once for their gaps. */
const WAKES_AT_ONCE = 100;

/** One answer of `/sync`: what happened from one position to the next. */
type Stretch = {
  from: string;
  to: string;
  /** Rooms with events, or with some left out before them. */
  rooms: (Offered & { isCut: boolean })[];
  /** Rooms that the observer is not in any more. */
  left: string[];
};

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
  changes: SyncAnswer,
): Promise<void> {
  const stretch = readStretch(since, changes);
  const isPlain = stretch.left.length === 0 && !stretch.rooms.some(({ isCut }) => isCut);
  const own = isPlain ? readOwnEvents(stretch.rooms, run.known) : null;
  if (own !== null && (await saveOwn(context, run, stretch, own))) return;
  await saveSeen(context, run, stretch);
}

/** Answers false, and has saved nothing, when the tables have it otherwise. @throws ObserverLeaseLost */
async function saveOwn(
  context: WorkerContext,
  { observer, fence, known }: ObserverRun,
  { to, rooms }: Stretch,
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
  await tell(context, applied);
  return true;
}

/** Null when looking at the tables again may help. @throws ObserverLeaseLost, or what it was given. */
function nullIfStale(error: unknown): null {
  if (isLeaseGone(error)) throw new ObserverLeaseLost();
  if (!(isViewStale(error) || isRepeatable(error))) throw error;
  return null;
}

async function saveSeen(context: WorkerContext, run: ObserverRun, stretch: Stretch): Promise<void> {
  const reader = await createReader(context, run);
  for (let look = 1; ; look++) {
    const seen = await lookUp(context.db, reader, stretch.rooms);
    const plan = planSaving(stretch, seen);
    const applied = await save(context, run, stretch, seen, plan).catch((error: unknown) => {
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

function readStretch(from: string, { next_batch: to, rooms }: SyncAnswer): Stretch {
  const joined = Object.entries(rooms?.join ?? {}).flatMap(([matrixRoomId, { timeline }]) => {
    if (timeline === undefined || (timeline.events.length === 0 && !timeline.limited)) return [];
    return [{ matrixRoomId, events: timeline.events, isCut: isCut(timeline) }];
  });
  return { from, to, rooms: joined, left: Object.keys(rooms?.leave ?? {}) };
}

type Timeline = { limited: boolean; events: readonly { type: string }[] };

/** Whether something before was left out. A room that was just entered always says so, even when it is whole. */
function isCut({ limited, events }: Timeline): boolean {
  return limited && !events.some((event) => event.type === "m.room.create");
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
type Plan = { meaning: Meaning; gapped: Seen["rooms"] };

function planSaving({ rooms }: Stretch, seen: Seen): Plan {
  const cut = new Set(rooms.flatMap(({ matrixRoomId, isCut }) => (isCut ? [matrixRoomId] : [])));
  const gapped = seen.rooms.filter((room) => room.gap_from !== null || cut.has(room.matrix_room_id));
  const gappedIds = new Set(gapped.map(({ id }) => id));
  const whole = seen.events.filter(({ roomId }) => !gappedIds.has(roomId));
  return { gapped, meaning: readMeaning(whole, seen.facts) };
}

function save(
  context: WorkerContext,
  { observer, fence }: ObserverRun,
  { from, to, rooms, left }: Stretch,
  seen: Seen,
  { meaning, gapped }: Plan,
): Promise<Applied> {
  const observerId = observer.observer_id;
  const outOfSight = [...gapped.map((room) => room.matrix_room_id), ...left];
  return applyMeaning(context.db, {
    require: savePositionAndRequire(
      { observerId, fence, since: to },
      { matrixRoomIds: rooms.map(({ matrixRoomId }) => matrixRoomId), rooms: seen.rooms },
    ),
    meaning,
    also: [
      ...(outOfSight.length > 0 ? [recordGaps(observerId, outOfSight, { from, to })] : []),
      ...(left.length > 0 ? [noteObserverOut(observerId, left)] : []),
    ],
  });
}

async function afterSaving(
  context: WorkerContext,
  { observer }: ObserverRun,
  { rooms }: Seen,
  { applied, meaning, gapped }: Plan & { applied: Applied },
): Promise<void> {
  const told = tell(context, applied);
  if (rooms.length === 0) return told;
  const tenantId = observer.tenant_id;
  count(context, meaning, gapped.length);
  const wakes = [
    ...gapped.map((room) => context.wake("room-sync", { tenantId, roomId: room.id })),
    ...meaning.drifts.map((drift) =>
      drift.what === "levels"
        ? context.wake("membership", { tenantId, roomId: drift.roomId })
        : context.wake("provisioning", { tenantId, subject: "room" as const, id: drift.roomId }),
    ),
  ];
  await Promise.all([told, ...wakes]);
  await redactDoubles(context, observer, meaning, rooms);
}

/** Publishes what was appended first, since people wait for it. */
async function tell(context: WorkerContext, applied: Applied): Promise<void> {
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

/** Saves the position alone: every room of the answer has a gap instead, to be filled by itself. @throws ObserverLeaseLost */
export async function saveAsGaps(
  context: WorkerContext,
  run: ObserverRun,
  since: string,
  changes: SyncAnswer,
): Promise<void> {
  const { rooms, left, from, to } = readStretch(since, changes);
  const observerId = run.observer.observer_id;
  const matrixRoomIds = [...rooms.map(({ matrixRoomId }) => matrixRoomId), ...left];
  await saveGaps(context, run, to, recordGaps(observerId, matrixRoomIds, { from, to }), [
    noteObserverOut(observerId, left),
  ]);
}

/**
 * Reading starts anew at a position: it is saved with a gap in every room, from where reading was or else, where that
 * means nothing any more, from the room's beginning.
 * @throws ObserverLeaseLost
 */
export async function startAnew(
  context: WorkerContext,
  run: ObserverRun,
  { from = FROM_BEGINNING, to }: { from?: string; to: string },
): Promise<void> {
  await saveGaps(context, run, to, recordGapsOfObserver(run.observer.observer_id, { from, to }));
}

async function saveGaps(
  context: WorkerContext,
  { observer, fence }: ObserverRun,
  since: string,
  gaps: Statement,
  also: readonly Statement[] = [],
): Promise<void> {
  const position = { observerId: observer.observer_id, fence, since };
  const require = savePositionAndRequire(position, { matrixRoomIds: [], rooms: [] });
  try {
    const [, rooms] = await transactAtOnce<[unknown[], { room_id: string }[]]>(context.db, [
      require,
      gaps,
      ...also,
    ]);
    context.metrics.gaps.inc(rooms.length);
    // The sweeper wakes the rest, a batch at a time.
    await Promise.all(
      rooms
        .slice(0, WAKES_AT_ONCE)
        .map((room) => context.wake("room-sync", { tenantId: observer.tenant_id, roomId: room.room_id })),
    );
  } catch (error) {
    throw isLeaseGone(error) ? new ObserverLeaseLost() : error;
  }
}
