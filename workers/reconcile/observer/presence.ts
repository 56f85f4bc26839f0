import { POWER_LEVEL, role } from "../../../shared/contract/roles.ts";
import type { Db } from "../../../shared/db/connection/open.ts";
import { listJoinedMembers } from "../../../shared/db/memberships/applied-members.ts";
import { noteObserverOut } from "../../../shared/db/observers/observed-rooms.ts";
import type { RoomSnapshot } from "../../../shared/db/rooms/room-snapshot.ts";
import type { Homeserver } from "../../matrix/homeserver/homeserver.ts";
import { MatrixFailure, unlessForbidden, unlessMissing } from "../../matrix/http/failure.ts";
import { EventType, Membership } from "../../matrix/names.ts";
import { INVITE_LEVEL } from "../../matrix/power-levels.ts";
import { isInRoom } from "../../matrix/rooms/member-event.ts";
import { listJoined } from "../../matrix/rooms/members.ts";
import { getState } from "../../matrix/rooms/state.ts";
import type { WorkerContext } from "../../runtime/context.ts";

type MatrixRoom = RoomSnapshot & { matrix_room_id: string };

/** Accounts of ours that are asked, or asked for help, at most. */
const ACCOUNTS_AT_MOST = 10;
/** Roles whose members may invite on Matrix. */
const INVITING_ROLES = role.options.filter((name) => POWER_LEVEL[name] >= INVITE_LEVEL);

/** Whether a room's observer is in it now. */
export async function isObserverIn(homeserver: Homeserver, room: MatrixRoom): Promise<boolean> {
  const { observer_matrix_id: matrixUserId, matrix_room_id: matrixRoomId } = room;
  return isInRoom(await homeserver.as(matrixUserId), { matrixRoomId, matrixUserId });
}

/** Members who may invite the observer, as our tables know them. */
export function listInviters(db: Db, room: MatrixRoom): Promise<string[]> {
  return listJoinedMembers(db, room.id, { roles: INVITING_ROLES, limit: ACCOUNTS_AT_MOST });
}

/**
 * What can be done about a room whose observer is out.
 * - `invite`: a member who is in the room may invite the observer.
 * - `stuck`: members of ours are in the room, and none of them can bring the observer back.
 * - `gone`: none of our accounts is in the room, and none can come in: the homeserver has deleted the room, or lost it.
 */
export type WayBack = "invite" | "stuck" | "gone";

/** Looks what can be done about a room whose observer is out. Changes nothing. */
export async function findWayBack(db: Db, homeserver: Homeserver, room: MatrixRoom): Promise<WayBack> {
  const joined = await findJoined(db, homeserver, room);
  if (joined === null) return "gone";
  const inviter = (await listInviters(db, room)).find((account) => joined.includes(account));
  if (inviter === undefined) return "stuck";
  const content = await getState(await homeserver.as(inviter), {
    matrixRoomId: room.matrix_room_id,
    type: EventType.RoomMember,
    key: room.observer_matrix_id,
  });
  // The observer's level is above everybody's: no member may end its ban.
  const isBanned = (content as { membership?: unknown } | null)?.membership === Membership.Ban;
  return isBanned ? "stuck" : "invite";
}

/**
 * Matrix ids of who is in a room, as one of our accounts in it sees it; null when none of ours is in it. An Application
 * Service is answered for each of its accounts, also as an observer that is out.
 * @throws MatrixFailure also when no account sees the room, and one of them may not make calls: it may be in the room.
 */
async function findJoined(db: Db, homeserver: Homeserver, room: MatrixRoom): Promise<string[] | null> {
  const members = await listJoinedMembers(db, room.id, { roles: role.options, limit: ACCOUNTS_AT_MOST });
  let unanswered: MatrixFailure | null = null;
  for (const account of [room.observer_matrix_id, ...members]) {
    try {
      const joined = listJoined(await homeserver.as(account), room.matrix_room_id);
      const seen = await unlessForbidden(unlessMissing(joined));
      if (seen !== null) return seen;
    } catch (error) {
      if (!isOfAccount(error)) throw error;
      unanswered ??= error;
    }
  }
  if (unanswered !== null) throw unanswered;
  return null;
}

/** Whether a call failed because of the account that made it: it is locked or suspended, or its device is gone. */
function isOfAccount(error: unknown): error is MatrixFailure {
  return error instanceof MatrixFailure && (error.kind === "account" || error.errcode === "M_UNKNOWN_DEVICE");
}

/** Whether a homeserver refused a call because of the room or an account, which another room or account may change. */
export function isRefused(error: unknown): error is MatrixFailure {
  if (!(error instanceof MatrixFailure) || error.kind === "limited") return false;
  const { kind, httpStatus } = error;
  return kind === "forbidden" || kind === "missing" || httpStatus === 403 || httpStatus === 404;
}

/**
 * Runs work on a room. After a refusal it looks whether the observer is still in the room, and records it when not: then the
 * room's provisioning is due, which brings the observer back.
 * @throws what the work throws
 */
export async function noticeObserverOut<T>(
  context: WorkerContext,
  homeserver: Homeserver,
  room: MatrixRoom,
  work: () => Promise<T>,
): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (isRefused(error) && !room.observer_is_out && !(await isObserverIn(homeserver, room)))
      await recordObserverOut(context, room);
    throw error;
  }
}

/** Records that a room's observer is out of it, without a response of `/sync` that showed it leave. */
export async function recordObserverOut(context: WorkerContext, room: MatrixRoom): Promise<void> {
  const noted = await noteObserverOut(context.db, room.observer_id, [room.matrix_room_id]);
  if (noted.length === 0) return;
  context.log.error({ room: room.id }, "the observer is not in the room any more");
  await context.wake("provisioning", { tenantId: room.tenant_id, subject: "room", id: room.id });
}
