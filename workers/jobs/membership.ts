import {
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
import type { RoomSnapshot } from "../../shared/db/rooms/room-snapshot.ts";
import { errorText } from "../../shared/contract/errors.ts";
import type { JobPayload } from "../../shared/queues/index.ts";
import { DONE, type JobResult, type WorkerContext } from "../runtime/context.ts";
import { applyPowerLevels } from "../reconcile/apply-power-levels.ts";
import { ensureAccount } from "../reconcile/ensure-account.ts";
import { ensureJoined, NotWanted } from "../reconcile/ensure-joined.ts";
import { ensureRoom } from "../reconcile/ensure-room.ts";
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

/** Brings a room's members and its whole power-level map on Matrix to what the tenant wants. */
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
  await markAppliedWithoutMatrix(db, room.id, room.join_policy);
  const moves = await listMemberMoves(db, room.id, { joinPolicy: room.join_policy, limit: MAX_MOVES + 1 });
  if (room.matrix_room_id === null && moves.length === 0) {
    await markMembersApplied(db, room.id, room.members_desired_version);
    return DONE;
  }
  const homeserver = await context.homeserver(room.homeserver_id);
  const matrixRoomId = await ensureRoom(context, homeserver, room, lease);
  const existing = { ...room, matrix_room_id: matrixRoomId };
  for (const move of moves.slice(0, MAX_MOVES)) {
    await moveMember(context, homeserver, existing, move, lease);
  }
  const areUnknownUsersRemoved = await removeUnknownUsers(context, homeserver, existing, lease);
  await applyPowerLevels(context, homeserver, existing, lease);
  if (moves.length > MAX_MOVES || !areUnknownUsersRemoved) {
    await continueMembersLater(db, room.id, BACKGROUND_PAUSE_MS);
    return { retryInMs: BACKGROUND_PAUSE_MS };
  }
  await markMembersApplied(db, room.id, room.members_desired_version);
  return DONE;
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
    if (!(error instanceof MatrixFailure && isOfMember(error, room.members_attempts))) throw error;
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
