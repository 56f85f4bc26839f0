import type { Db } from "../../shared/db/open.ts";
import { savePosition } from "../../shared/db/sync-positions.ts";
import { publishRooms } from "../../shared/timeline/publish.ts";
import type { WorkerContext } from "../context.ts";
import type { SyncAnswer } from "../matrix/sync-api.ts";
import { applyMeaning, readMeaning, type Meaning, type RoomEvents, type ToldMessage } from "./apply.ts";
import { findEventFacts } from "./facts.ts";
import type { ObserverRun } from "./observer-run.ts";
import {
  findObservedRooms,
  noteObserverOut,
  recordGaps,
  recordGapsOfObserver,
  savePositionAndLock,
  type ObservedRoom,
} from "./observed-rooms.ts";
import { redactDoubles } from "./redact-doubles.ts";

/** Somebody else runs this observer now: nothing of ours may be saved. */
export class ObserverLeaseLost extends Error {
  constructor() {
    super("the observer's lease ended");
    this.name = "ObserverLeaseLost";
  }
}

type Joined = NonNullable<SyncAnswer["rooms"]>["join"];

/**
 * Puts one answer of `/sync` into the timelines, or into gaps, with the position in the same transaction; then
 * publishes and wakes.
 * @throws ObserverLeaseLost
 */
export async function saveChanges(
  context: WorkerContext,
  run: ObserverRun,
  since: string,
  changes: SyncAnswer,
): Promise<void> {
  const joined = changes.rooms?.join ?? {};
  const matrixRoomIds = Object.keys(joined).filter((id) => hasEvents(joined, id));
  const { observer, fence } = run;
  const homeserver = await context.homeserver(observer.homeserver_id);
  const request = await homeserver.as(observer.matrix_user_id);
  const offered = await readOffered(context, run, joined, matrixRoomIds);
  const facts = await findEventFacts(
    context.db,
    { tenantId: observer.tenant_id, matrixUserId: observer.matrix_user_id, request },
    offered,
  );
  const position = { observerId: observer.observer_id, fence, since: changes.next_batch, matrixRoomIds };
  const saved = await context.db.transaction(async (trx) => {
    const locked = await savePositionAndLock(trx, position);
    if (locked === null) throw new ObserverLeaseLost();
    const { whole, gapped } = splitByGap(locked, joined);
    const meaning = readMeaning(
      offered.filter((room) => whole.some(({ id }) => id === room.roomId)),
      facts,
    );
    // A gap takes in this answer's events too: they come after it, and are read again when it is filled.
    await recordGaps(
      trx,
      gapped.map((room) => ({ roomId: room.id, from: since, to: changes.next_batch })),
    );
    const told = await applyMeaning(trx, meaning);
    await noteObserverOut(trx, observer.observer_id, Object.keys(changes.rooms?.leave ?? {}), {
      since,
      next: changes.next_batch,
    });
    return { meaning, told, gapped, locked };
  });
  logTold(context, saved.told);
  if (saved.meaning.entries.length > 0) context.reach("between timeline commit and publish");
  if (offered.length > 0) await afterSaving(context, run, saved.meaning, saved.gapped, saved.locked);
}

/** The answer's events by our rooms. A room's ids never change, so the observer remembers them. */
async function readOffered(
  context: WorkerContext,
  run: ObserverRun,
  joined: Joined,
  matrixRoomIds: readonly string[],
): Promise<RoomEvents[]> {
  const unknown = matrixRoomIds.filter((id) => !run.roomIds.has(id));
  if (unknown.length > 0) {
    const found = await findObservedRooms(context.db, run.observer.observer_id, unknown);
    for (const room of found) run.roomIds.set(room.matrix_room_id, room.id);
  }
  return matrixRoomIds.flatMap((id): RoomEvents[] => {
    const roomId = run.roomIds.get(id);
    const answer = joined[id];
    if (roomId === undefined) return [];
    return [{ roomId, matrixRoomId: id, events: answer?.timeline?.events ?? [] }];
  });
}

function hasEvents(joined: Joined, matrixRoomId: string): boolean {
  const timeline = joined[matrixRoomId]?.timeline;
  return timeline !== undefined && (timeline.limited || timeline.events.length > 0);
}

/** Rooms that can be told in order, and those where something before was not read. */
function splitByGap(
  rooms: readonly ObservedRoom[],
  joined: Joined,
): { whole: ObservedRoom[]; gapped: ObservedRoom[] } {
  const isGapped = (room: ObservedRoom) =>
    room.gap_from !== null || isCut(joined[room.matrix_room_id]?.timeline);
  return { whole: rooms.filter((room) => !isGapped(room)), gapped: rooms.filter(isGapped) };
}

/** Whether something before was left out. A room that was just entered always says so, even when it is whole. */
function isCut(timeline: Joined[string]["timeline"]): boolean {
  if (!timeline?.limited) return false;
  return !timeline.events.some((event) => event.type === "m.room.create");
}

async function afterSaving(
  context: WorkerContext,
  run: ObserverRun,
  meaning: Meaning,
  gapped: readonly ObservedRoom[],
  known: readonly ObservedRoom[],
): Promise<void> {
  const tenantId = run.observer.tenant_id;
  count(context, meaning, gapped.length);
  const wakes = [
    ...gapped.map((room) => context.wake("room-sync", { tenantId, roomId: room.id })),
    ...meaning.drifts.map((drift) =>
      drift.what === "levels"
        ? context.wake("membership", { tenantId, roomId: drift.roomId })
        : context.wake("provisioning", { tenantId, subject: "room" as const, id: drift.roomId }),
    ),
  ];
  await publish(
    context,
    meaning.entries.map((room) => room.roomId),
  );
  await Promise.all(wakes);
  await redactDoubles(context, run.observer, meaning, known);
}

/** What is not published now is found by the sweeper: reading goes on. */
export async function publish(context: WorkerContext, roomIds: readonly string[]): Promise<void> {
  if (roomIds.length === 0) return;
  const endLag = context.metrics.publishLag.startTimer();
  try {
    await publishRooms(context, roomIds);
    endLag();
  } catch (error) {
    context.log.warn({ err: error, rooms: roomIds.length }, "publishing failed: the sweeper repeats it");
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

/** Saves the position alone: every room of the answer has a gap instead, to be filled by itself. */
export async function saveAsGaps(
  context: WorkerContext,
  run: ObserverRun,
  since: string,
  changes: SyncAnswer,
): Promise<void> {
  const { observer, fence } = run;
  const matrixRoomIds = Object.keys(changes.rooms?.join ?? {});
  const position = { observerId: observer.observer_id, fence, since: changes.next_batch, matrixRoomIds };
  const rooms = await context.db.transaction(async (trx) => {
    const locked = await savePositionAndLock(trx, position);
    if (locked === null) throw new ObserverLeaseLost();
    await recordGaps(
      trx,
      locked.map((room) => ({ roomId: room.id, from: since, to: changes.next_batch })),
    );
    return locked;
  });
  context.metrics.gaps.inc(rooms.length);
  await Promise.all(
    rooms.map((room) => context.wake("room-sync", { tenantId: room.tenant_id, roomId: room.id })),
  );
}

/** Reading starts anew at a position: it is saved with a gap in every room. @throws ObserverLeaseLost */
export async function startAnew(
  context: WorkerContext,
  { observer, fence }: ObserverRun,
  since: string,
): Promise<void> {
  const rooms = await context.db.transaction(async (trx: Db) => {
    const isHeld = await savePosition(trx, { observerId: observer.observer_id, fence, since });
    if (!isHeld) throw new ObserverLeaseLost();
    return recordGapsOfObserver(trx, observer.observer_id, since);
  });
  context.metrics.gaps.inc(rooms.length);
  // The sweeper wakes the rest, a batch at a time.
  await Promise.all(
    rooms
      .slice(0, 100)
      .map((room) => context.wake("room-sync", { tenantId: room.tenant_id, roomId: room.id })),
  );
}
