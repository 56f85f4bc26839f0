import { setTimeout as sleep } from "node:timers/promises";
import { errorText } from "../../../shared/contract/errors.ts";
import { isDbUnavailable } from "../../../shared/db/connection/failures.ts";
import type { WorkerContext } from "../../runtime/context.ts";
import { ensureObserver } from "../../reconcile/ensure-account.ts";
import { NOT_IN_TIME } from "../../matrix/http/client.ts";
import { MatrixFailure } from "../../matrix/http/failure.ts";
import type { Homeserver } from "../../matrix/homeserver/homeserver.ts";
import { listJoinedRooms } from "../../matrix/rooms/members.ts";
import { fetchPosition } from "../../matrix/sync/fetch-changes.ts";
import { isBackwards } from "../../matrix/sync/position.ts";
import { ResponseTooLarge } from "../../matrix/http/bounded-fetch.ts";
import { backoffMs } from "../../outbound/retry.ts";
import { listObservedRooms } from "../../../shared/db/observers/observed-rooms.ts";
import { ObserverLeaseLost, type ObserverRun } from "./observer-run.ts";
import { readChanges } from "./read-changes.ts";
import { saveChanges } from "../save-changes.ts";
import { saveAsGaps, restartReading } from "../save-gaps.ts";

/** After this many failures in a row, an answer that cannot be had or saved whole is left to its rooms. */
const TRIES_WHOLE = 3;

/** Told each time that the loop comes around: whether an answer was read and saved, or the turn failed. */
export type OnTurn = (isSuccess: boolean) => void;

/**
 * Reads what one observer sees until the signal: wait for changes, save them with the position in one transaction,
 * publish. A failure is waited out; a position that the homeserver does not know is replaced by a new one, and what
 * lies between becomes gaps.
 */
export async function runObserver(context: WorkerContext, run: ObserverRun, onTurn: OnTurn): Promise<void> {
  const homeserver = await context.homeserver(run.observer.homeserver_id);
  let since = run.observer.since;
  let failures = 0;
  // Answers since the last good one that did not come in time.
  let late = 0;
  while (!isOver(run.signal)) {
    try {
      since =
        since === null
          ? await begin(context, homeserver, run)
          : await readOnce(context, homeserver, run, since, failures);
      failures = 0;
      late = 0;
      onTurn(true);
    } catch (error) {
      if (isOver(run.signal) || error instanceof ObserverLeaseLost) return;
      onTurn(false);
      failures++;
      if (isLate(error)) late++;
      if (isPositionUnknown(error)) since = null;
      else if (isAccountRefused(error)) await makeObserver(context, homeserver, run);
      else if (since !== null && (isTooLarge(error) || late >= TRIES_WHOLE)) {
        since = await skip(context, homeserver, run, since);
        late = 0;
      }
      const delayMs = backoffMs({ attempts: failures, retryAfterMs: null }, context.chance());
      context.log.warn(
        { err: error, failures, delayMs, why: errorText(error) },
        "reading from the homeserver failed",
      );
      await sleep(delayMs, undefined, { signal: run.signal }).catch(() => undefined);
    }
  }
}

/** Asked by a function, since the signal changes while the loop waits, which the compiler does not see. */
function isOver(signal: AbortSignal): boolean {
  return signal.aborted;
}

/** The first position of an observer, or a new one: nothing of before is read, every room has a gap up to it. */
async function begin(context: WorkerContext, homeserver: Homeserver, run: ObserverRun): Promise<string> {
  await ensureObserver(context, homeserver, accountOf(run));
  const start = await findStart(context, homeserver, run);
  await restartReading(context, run, start);
  return start.to;
}

function accountOf({ observer }: ObserverRun): { id: string; matrixUserId: string } {
  return { id: observer.observer_id, matrixUserId: observer.matrix_user_id };
}

/** The homeserver does not know the observer, or its device, any more: as after a restore. */
async function makeObserver(context: WorkerContext, homeserver: Homeserver, run: ObserverRun): Promise<void> {
  try {
    await ensureObserver(context, homeserver, accountOf(run));
  } catch (error) {
    context.log.warn({ err: error }, "the observer's account cannot be made");
  }
}

/** A position to read from, and the rooms that the observer was put out of before it. */
async function findStart(
  context: WorkerContext,
  homeserver: Homeserver,
  { observer }: ObserverRun,
): Promise<{ to: string; left: string[] }> {
  const request = await homeserver.as(observer.matrix_user_id);
  const to = await fetchPosition(request);
  // Looked at after it, since `/sync` tells of what happens later; our rooms first, since one that is just made is
  // among the joined ones before it is among ours.
  const rooms = await listObservedRooms(context.db, observer.observer_id);
  const joined = new Set(await listJoinedRooms(request));
  return { to, left: rooms.filter((matrixRoomId) => !joined.has(matrixRoomId)) };
}

/**
 * What came since a position is more than one answer may bring: each room reads it by itself, and reading goes on after
 * it. Answers the position as it was when that does not work either: then it is the homeserver that is slow; and null
 * when it means nothing any more.
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
    context.log.error("/sync has too much to tell at once: every room reads it by itself");
    return start.to;
  } catch (error) {
    context.log.warn({ err: error }, "no new position to read from");
    return since;
  }
}

async function readOnce(
  context: WorkerContext,
  homeserver: Homeserver,
  run: ObserverRun,
  since: string,
  failures: number,
): Promise<string | null> {
  const request = await homeserver.as(run.observer.matrix_user_id);
  const changes = await readChanges(context, run, request, { since, failures });
  if (isBackwards(since, changes.next_batch)) {
    context.log.error(
      { observer: run.observer.observer_id },
      "the homeserver went back in time: reading anew",
    );
    return null;
  }
  try {
    await saveChanges(context, run, since, changes);
  } catch (error) {
    if (error instanceof ObserverLeaseLost || failures < TRIES_WHOLE || isDbUnavailable(error)) throw error;
    // One event that cannot be kept must not silence a tenant: each room is read again by itself.
    context.log.error({ err: error }, "an answer of /sync cannot be saved: its rooms become gaps");
    await saveAsGaps(context, run, since, changes);
  }
  return changes.next_batch;
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

function isLate(error: unknown): boolean {
  return error instanceof MatrixFailure && error.errcode === NOT_IN_TIME;
}
