import {
  hasLoweringsLater,
  listMemberMoves,
  markAppliedWithoutMatrix,
  markLeft,
  markMoveApplied,
  type MemberMove,
} from "../../shared/db/memberships/applied-members.ts";
import {
  continueMembersLater,
  markMembersApplied,
  rescheduleMembers,
} from "../../shared/db/memberships/members-due.ts";
import type { Db } from "../../shared/db/connection/open.ts";
import type { RoomSnapshot } from "../../shared/db/rooms/room-snapshot.ts";
import { errorText } from "../../shared/contract/errors.ts";
import type { JobPayload } from "../../shared/queues/index.ts";
import { DONE, type JobResult, type WorkerContext } from "../runtime/context.ts";
import { applyPowerLevels } from "../reconcile/apply-power-levels.ts";
import { ensureAccount } from "../reconcile/ensure-account.ts";
import { ensureJoined, NotWanted } from "../reconcile/ensure-joined.ts";
import { ensureRoom } from "../reconcile/ensure-room.ts";
import { noticeObserverOut } from "../reconcile/observer/presence.ts";
import { settleBans } from "../reconcile/removals/settle-bans.ts";
import { settleRemovals } from "../reconcile/removals/settle-removal.ts";
import { removeUnknownUsers } from "../reconcile/remove-unknown-users.ts";
import type { Homeserver } from "../matrix/homeserver/homeserver.ts";
import { isForOperators, isLasting, MatrixFailure } from "../matrix/http/failure.ts";
import { removeMember } from "../matrix/rooms/members.ts";
import { convergeOrReschedule } from "../runtime/reschedule.ts";
import { withRoomLease, type RoomLease } from "../runtime/room-lease.ts";

/** Members that one run moves on Matrix. Later runs move the rest, so that the room's messages are sent between them. */
const MAX_MOVES = 20;
/** Pause between such runs. */
const BACKGROUND_PAUSE_MS = 500;
/** Pause before the next look whether the messages are sent that members' rights are lowered after. */
const LOWERING_PAUSE_MS = 2_000;

/**
 * Brings a room's members and its whole power-level map on Matrix to what the tenant wants. Removals are applied at once; a
 * member whose rights are only lowered keeps them there until the messages accepted before that are sent, for a minute at most.
 */
export async function handleMembership(
  context: WorkerContext,
  payload: JobPayload<"membership">,
): Promise<JobResult> {
  const result = await withRoomLease(context, payload, async (lease, room) => {
    if (!room.tenant_is_active || room.is_deleted) return DONE;
    return convergeOrReschedule(
      context,
      room.members_attempts,
      () => converge(context, room, lease),
      (failure) => rescheduleMembers(context.db, room.id, failure),
    );
  });
  return result ?? DONE;
}

async function converge(context: WorkerContext, room: RoomSnapshot, lease: RoomLease): Promise<JobResult> {
  const { db } = context;
  // Before and after: what is lowered later in between is seen by one of both.
  const isLoweredLater = await hasLoweringsLater(db, room.id);
  await markAppliedWithoutMatrix(db, room.id, room.join_policy);
  if (!(await bringToMatrix(context, room, lease))) return continueLater(db, room, BACKGROUND_PAUSE_MS);
  if (isLoweredLater || (await hasLoweringsLater(db, room.id)))
    return continueLater(db, room, LOWERING_PAUSE_MS);
  await markMembersApplied(db, room.id, room.members_desired_version);
  return DONE;
}

async function continueLater(db: Db, room: RoomSnapshot, pauseMs: number): Promise<JobResult> {
  await continueMembersLater(db, room.id, pauseMs);
  return { retryInMs: pauseMs };
}

/** Brings members to Matrix; creates the room there where one is to be moved. Returns false when more is left to do. */
async function bringToMatrix(context: WorkerContext, room: RoomSnapshot, lease: RoomLease): Promise<boolean> {
  if (room.matrix_room_id === null && (await listMoves(context, room)).length === 0) return true;
  const homeserver = await context.homeserver(room.homeserver_id);
  const matrixRoomId = await ensureRoom(context, homeserver, room, lease);
  const existing = { ...room, matrix_room_id: matrixRoomId, observer_is_out: false };
  return noticeObserverOut(context, homeserver, existing, () =>
    bringMembers(context, homeserver, existing, lease),
  );
}

/** Returns false when more is left to do. */
async function bringMembers(
  context: WorkerContext,
  homeserver: Homeserver,
  room: RoomSnapshot & { matrix_room_id: string },
  lease: RoomLease,
): Promise<boolean> {
  // Before the moves: whom the room lets in again is not banned any more when joining.
  const areBansSettled = await settleBans(context, homeserver, room, { lease, limit: MAX_MOVES });
  // Before the moves: whom a moderator has removed on Matrix does not join again.
  const areRemovalsSettled = await settleRemovals(context, homeserver, room, { lease, limit: MAX_MOVES });
  const moves = await listMoves(context, room);
  for (const move of moves.slice(0, MAX_MOVES)) await moveMember(context, homeserver, room, move, lease);
  const areUnknownUsersRemoved = await removeUnknownUsers(context, homeserver, room, lease);
  await applyPowerLevels(context, homeserver, room, lease);
  return moves.length <= MAX_MOVES && areBansSettled && areRemovalsSettled && areUnknownUsersRemoved;
}

/** The moves of one run, and one more where more are left. */
function listMoves({ db }: WorkerContext, room: RoomSnapshot): Promise<MemberMove[]> {
  return listMemberMoves(db, room.id, { joinPolicy: room.join_policy, limit: MAX_MOVES + 1 });
}

async function moveMember(
  context: WorkerContext,
  homeserver: Homeserver,
  room: RoomSnapshot & { matrix_room_id: string },
  move: MemberMove,
  lease: RoomLease,
): Promise<void> {
  if (move.target === "out" && move.applied === "in") {
    lease.check();
    await removeMember(await homeserver.as(room.observer_matrix_id), {
      matrixRoomId: room.matrix_room_id,
      matrixUserId: move.matrix_user_id,
    });
    await markLeft(context.db, room.id, move.user_id);
  }
  const error =
    move.target === "in" && move.applied === "out"
      ? await join(context, homeserver, room, move, lease)
      : null;
  await markMoveApplied(context.db, room.id, move, error);
}

/**
 * Joins a member. Returns why the homeserver will never accept this account in the room, null when it is joined: the
 * room's other members do not wait for it.
 */
async function join(
  context: WorkerContext,
  homeserver: Homeserver,
  room: RoomSnapshot & { matrix_room_id: string },
  move: MemberMove,
  lease: RoomLease,
): Promise<string | null> {
  const member = { userId: move.user_id, matrixUserId: move.matrix_user_id };
  try {
    if (!move.is_registered)
      await ensureAccount(context, homeserver, { id: move.user_id, tenantId: room.tenant_id, ...member });
    await ensureJoined(context, homeserver, room, member, lease);
    return null;
  } catch (error) {
    // The member was removed since the moves were read: the removal has made the room's members due.
    if (error instanceof NotWanted) return null;
    // A 404 is about the room: the homeserver does not have it any more.
    const isTheirs =
      error instanceof MatrixFailure && error.httpStatus !== 404 && isOfMember(error, room.members_attempts);
    if (!isTheirs) throw error;
    context.log.error({ room: room.id, err: error }, "a member cannot be joined");
    return errorText(error);
  }
}

/** Whether a failure concerns this member, and not the homeserver or the room. `attempts`: failures in a row before it. */
function isOfMember(error: MatrixFailure, attempts: number): boolean {
  if (isForOperators(error)) return true;
  const { kind } = error;
  return (kind === "permanent" || kind === "account" || kind === "unclear") && isLasting(kind, attempts);
}
