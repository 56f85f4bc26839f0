import { setTimeout as sleep } from "node:timers/promises";
import { errorText } from "../../../shared/contract/errors.ts";
import { isDbUnavailable } from "../../../shared/db/connection/failures.ts";
import type { WorkerContext } from "../../runtime/context.ts";
import { ensureObserver } from "../../reconcile/ensure-account.ts";
import { NOT_IN_TIME } from "../../matrix/http/client.ts";
import { MatrixFailure } from "../../matrix/http/failure.ts";
import type { Homeserver } from "../../matrix/homeserver/homeserver.ts";
import { listJoinedRooms } from "../../matrix/rooms/members.ts";
import { fetchPosition, type SyncResponse } from "../../matrix/sync/fetch-changes.ts";
import { isBackwards } from "../../matrix/sync/position.ts";
import { ResponseTooLarge } from "../../matrix/http/bounded-fetch.ts";
import { backoffMs } from "../../outbound/retry.ts";
import { createObserverSigns, type ObserverSigns } from "../../signs/observer-signs.ts";
import { listObservedRooms } from "../../../shared/db/observers/observed-rooms.ts";
import { ObserverLeaseLost, type ObserverRun } from "./observer-run.ts";
import { noteLeftRooms } from "./note-left-rooms.ts";
import { readChanges } from "./read-changes.ts";
import { createReadPace, type ReadPace } from "./read-pace.ts";
import { saveChanges } from "../save-changes.ts";
import { saveAsGaps, restartReading } from "../save-gaps.ts";

/** After this many failures in a row, what cannot be read or saved in one batch becomes gaps of its rooms. */
const TRIES_WHOLE = 3;

/** Called after each round of the loop. `isSuccess`: a batch was read and saved. */
export type OnRound = (isSuccess: boolean) => void;

/**
 * Reads what one observer sees until the signal: waits for changes, saves them with the position in one transaction, and
 * publishes. After a failure it waits and tries again. A position that the homeserver does not know is replaced by the
 * present one; what came between becomes gaps.
 */
export async function runObserver(context: WorkerContext, run: ObserverRun, onRound: OnRound): Promise<void> {
  const homeserver = await context.homeserver(run.observer.homeserver_id);
  const pace = createReadPace(() => performance.now());
  const signs = createObserverSigns(context, homeserver, run.observer);
  let since = run.observer.since;
  let failures = 0;
  // Timeouts since the last success.
  let timeouts = 0;
  while (!isOver(run.signal)) {
    try {
      since =
        since === null
          ? await begin(context, homeserver, run)
          : await readOnce(context, homeserver, run, { since, failures, pace, signs });
      failures = 0;
      timeouts = 0;
      onRound(true);
      if (!isOver(run.signal)) await noteLeftRooms(context, run, performance.now());
      await pause(pace.pauseMs(), run.signal);
    } catch (error) {
      if (isOver(run.signal) || error instanceof ObserverLeaseLost) break;
      onRound(false);
      failures++;
      if (isTimeout(error)) timeouts++;
      if (isPositionUnknown(error)) since = null;
      else if (isAccountRefused(error)) await restoreAccount(context, homeserver, run);
      else if (since !== null && (isTooLarge(error) || timeouts >= TRIES_WHOLE)) {
        since = await skip(context, homeserver, run, since);
        timeouts = 0;
      }
      const delayMs = backoffMs({ attempts: failures, retryAfterMs: null }, context.chance());
      context.log.warn(
        { err: error, failures, delayMs, why: errorText(error) },
        "reading from the homeserver failed",
      );
      await pause(delayMs, run.signal);
    }
  }
  await signs.drain();
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (ms > 0) await sleep(ms, undefined, { signal }).catch(() => undefined);
}

/** A function, since the compiler does not see that the signal changes while the loop waits. */
function isOver(signal: AbortSignal): boolean {
  return signal.aborted;
}

/** Starts reading at the present position; every room has a gap up to it. Returns the position. */
async function begin(context: WorkerContext, homeserver: Homeserver, run: ObserverRun): Promise<string> {
  await ensureObserver(context, homeserver, accountOf(run));
  const start = await findStart(context, homeserver, run);
  await restartReading(context, run, start);
  return start.to;
}

function accountOf({ observer }: ObserverRun): { id: string; matrixUserId: string } {
  return { id: observer.observer_id, matrixUserId: observer.matrix_user_id };
}

/** After a restore the homeserver may not know the observer's account or device any more. */
async function restoreAccount(
  context: WorkerContext,
  homeserver: Homeserver,
  run: ObserverRun,
): Promise<void> {
  try {
    await ensureObserver(context, homeserver, accountOf(run));
  } catch (error) {
    context.log.warn({ err: error }, "the observer's account cannot be restored");
  }
}

/** The present position, and the rooms that the observer is not in. */
async function findStart(
  context: WorkerContext,
  homeserver: Homeserver,
  { observer }: ObserverRun,
): Promise<{ to: string; left: string[] }> {
  const request = await homeserver.as(observer.matrix_user_id);
  const to = await fetchPosition(request);
  // After the position, since `/sync` returns what happens later. Our rooms before the joined ones: the observer joins a
  // room on Matrix before the room is among ours.
  const rooms = await listObservedRooms(context.db, observer.observer_id);
  const joined = new Set(await listJoinedRooms(request));
  return { to, left: rooms.filter((matrixRoomId) => !joined.has(matrixRoomId)) };
}

/**
 * For changes that are too many for one response: every room gets a gap up to the present position, where reading
 * continues. Returns that position; the old one when even this fails, since the homeserver is slow then; null when the
 * homeserver went back in time.
 */
async function skip(
  context: WorkerContext,
  homeserver: Homeserver,
  run: ObserverRun,
  since: string,
): Promise<string | null> {
  try {
    const start = await findStart(context, homeserver, run);
    if (isBackwards(since, start.to)) return null;
    await restartReading(context, run, { from: since, ...start });
    context.log.error("the changes are too many for one response: every room gets a gap instead");
    return start.to;
  } catch (error) {
    context.log.warn({ err: error }, "no new position to read from");
    return since;
  }
}

/** Reads and saves one batch. Returns the next position, null when reading must start again. */
async function readOnce(
  context: WorkerContext,
  homeserver: Homeserver,
  run: ObserverRun,
  { since, failures, pace, signs }: { since: string; failures: number; pace: ReadPace; signs: ObserverSigns },
): Promise<string | null> {
  const request = await homeserver.as(run.observer.matrix_user_id);
  const changes = await readChanges(context, run, request, { since, failures });
  pace.add(countEvents(changes));
  if (isBackwards(since, changes.next_batch)) {
    context.log.error(
      { observer: run.observer.observer_id },
      "the homeserver went back in time: reading starts again",
    );
    return null;
  }
  if (signs.mayWait(changes)) {
    signs.add(changes);
    return changes.next_batch;
  }
  try {
    await saveChanges(context, run, since, changes);
  } catch (error) {
    if (error instanceof ObserverLeaseLost || failures < TRIES_WHOLE || isDbUnavailable(error)) throw error;
    // One event that cannot be saved must not stop a tenant: each room of the batch is read again by itself.
    context.log.error({ err: error }, "a batch cannot be saved: its rooms get gaps instead");
    await saveAsGaps(context, run, since, changes);
  }
  signs.noteSaved();
  signs.add(changes);
  return changes.next_batch;
}

function countEvents({ rooms, signs = [] }: SyncResponse): number {
  return Object.values(rooms?.join ?? {}).reduce(
    (sum, { timeline }) => sum + (timeline?.events.length ?? 0),
    signs.length,
  );
}

function isPositionUnknown(error: unknown): boolean {
  return error instanceof MatrixFailure && error.httpStatus === 400 && error.errcode === "M_UNKNOWN";
}

function isAccountRefused(error: unknown): boolean {
  return error instanceof MatrixFailure && error.kind === "forbidden";
}

function isTooLarge(error: unknown): boolean {
  return error instanceof MatrixFailure && error.cause instanceof ResponseTooLarge;
}

function isTimeout(error: unknown): boolean {
  return error instanceof MatrixFailure && error.errcode === NOT_IN_TIME;
}
