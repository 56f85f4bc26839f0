import { rowsOf } from "../../shared/db/connection/open.ts";
import { errorText } from "../../shared/contract/errors.ts";
import type { JobPayload } from "../../shared/queues/index.ts";
import { DONE, type JobResult, type WorkerContext } from "../runtime/context.ts";
import { applyLevels } from "../reconcile/apply-power-levels.ts";
import { ensureAccount } from "../reconcile/ensure-account.ts";
import { ensureJoined, NotWanted } from "../reconcile/ensure-joined.ts";
import { ensureRoom } from "../reconcile/ensure-room.ts";
import { removeUnknownUsers } from "../reconcile/remove-unknown-users.ts";
import type { RoomSnapshot } from "../../shared/db/rooms/work-room.ts";
import type { Homeserver } from "../matrix/homeserver/homeserver.ts";
import { isForOperators, MatrixFailure } from "../matrix/http/failure.ts";
import { removeMember } from "../matrix/rooms/members.ts";
import { convergeOrReschedule } from "../runtime/reschedule.ts";
import { withRoomLease, type RoomLease } from "../runtime/room-lease.ts";

/** Members that one run moves on Matrix; the rest follow in later runs, so that messages are not held up. */
const MOVES_AT_MOST = 20;
/** Pause between runs that move many people. */
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
      async ({ delayMs, attempts, error }) => {
        await context.db.raw(
          `update rooms set members_next_attempt_at = now() + ? * interval '1 millisecond',
                  members_attempts = ?, members_error = ? where id = ?`,
          [delayMs, attempts, error, room.id],
        );
      },
    );
  });
  return result ?? DONE;
}

async function converge(context: WorkerContext, room: RoomSnapshot, lease: RoomLease): Promise<JobResult> {
  await applyWithoutMatrix(context, room);
  const moves = await findMoves(context, room);
  if (room.matrix_room_id === null && moves.length === 0) {
    await finish(context, room);
    return DONE;
  }
  const homeserver = await context.homeserver(room.homeserver_id);
  const matrixRoomId = await ensureRoom(context, homeserver, room, lease);
  const existing = { ...room, matrix_room_id: matrixRoomId };
  for (const move of moves.slice(0, MOVES_AT_MOST)) {
    await moveMember(context, homeserver, existing, move, lease);
  }
  const areStrangersOut = await removeUnknownUsers(context, homeserver, existing, lease);
  await applyLevels(context, homeserver, existing, lease);
  if (moves.length > MOVES_AT_MOST || !areStrangersOut) {
    await context.db.raw(
      "update rooms set members_next_attempt_at = now() + ? * interval '1 millisecond' where id = ?",
      [BACKGROUND_PAUSE_MS, room.id],
    );
    return { retryInMs: BACKGROUND_PAUSE_MS };
  }
  await finish(context, room);
  return DONE;
}

/** Whoever is not on Matrix and need not be is as wanted already: a guest, or a member who has not spoken yet. */
async function applyWithoutMatrix(context: WorkerContext, room: RoomSnapshot): Promise<void> {
  await context.db.raw(
    `update memberships set applied_version = version, error = null
      where room_id = ? and version <> applied_version and applied = 'out'
        and (desired = 'out' or role = 'guest' or (? = 'lazy' and opened_at is null))`,
    [room.id, room.join_policy],
  );
}

type Move = {
  user_id: string;
  matrix_user_id: string;
  is_registered: boolean;
  version: number;
  /** What Matrix should have. */
  target: "in" | "out";
  applied: "in" | "out";
};

/** Members whose state on Matrix is not settled, removals first. */
function findMoves(context: WorkerContext, room: RoomSnapshot): Promise<Move[]> {
  return rowsOf<Move>(
    context.db,
    `select s.user_id, u.matrix_user_id, u.applied_version > 0 as is_registered, s.version, s.applied,
            case when s.desired = 'in' and s.role <> 'guest' then 'in' else 'out' end as target
       from memberships s join users u on u.id = s.user_id
      where s.room_id = ?
        and (s.version <> s.applied_version
          or s.applied = 'in' and (s.desired = 'out' or s.role = 'guest')
          or s.applied = 'out' and s.desired = 'in' and s.role <> 'guest' and s.error is null
             and (? = 'eager' or s.opened_at is not null))
      order by s.desired desc, s.updated_at
      limit ?`,
    [room.id, room.join_policy, MOVES_AT_MOST + 1],
  );
}

async function moveMember(
  context: WorkerContext,
  homeserver: Homeserver,
  room: RoomSnapshot & { matrix_room_id: string },
  move: Move,
  lease: RoomLease,
): Promise<void> {
  if (move.target === "out" && move.applied === "in") {
    lease.check();
    await removeMember(await homeserver.as(room.observer_matrix_id), {
      matrixRoomId: room.matrix_room_id,
      matrixUserId: move.matrix_user_id,
    });
    await context.db.raw("update memberships set applied = 'out' where room_id = ? and user_id = ?", [
      room.id,
      move.user_id,
    ]);
  }
  const error =
    move.target === "in" && move.applied === "out"
      ? await join(context, homeserver, room, move, lease)
      : null;
  await context.db.raw(
    "update memberships set applied_version = ?, error = ? where room_id = ? and user_id = ? and version = ?",
    [move.version, error, room.id, move.user_id, move.version],
  );
}

/** Answers why the homeserver never lets this one account in; the room's other members need not wait for it. */
async function join(
  context: WorkerContext,
  homeserver: Homeserver,
  room: RoomSnapshot & { matrix_room_id: string },
  move: Move,
  lease: RoomLease,
): Promise<string | null> {
  const member = { userId: move.user_id, matrixUserId: move.matrix_user_id };
  try {
    if (!move.is_registered)
      await ensureAccount(context, homeserver, { id: move.user_id, tenantId: room.tenant_id, ...member });
    await ensureJoined(context, homeserver, room, member, lease);
    return null;
  } catch (error) {
    // Removed between reading and joining: the removal made its own work due.
    if (error instanceof NotWanted) return null;
    const isTheirs = error instanceof MatrixFailure && (error.kind === "permanent" || isForOperators(error));
    if (!isTheirs) throw error;
    context.log.error({ room: room.id, err: error }, "a member cannot be joined");
    return errorText(error);
  }
}

async function finish(context: WorkerContext, room: RoomSnapshot): Promise<void> {
  await context.db.raw(
    `update rooms set members_applied_version = greatest(members_applied_version, :version), members_attempts = 0, members_error = null,
            members_next_attempt_at = case when members_desired_version > :version then now() end
      where id = :id`,
    { version: room.members_desired_version, id: room.id },
  );
}
