import {
  markRoomRemoved,
  markRoomUpToDate,
  rescheduleRoom,
} from "../../shared/db/rooms/matrix/room-provisioning.ts";
import type { RoomSnapshot } from "../../shared/db/rooms/room-snapshot.ts";
import {
  findDueAccount,
  markAccountRemoved,
  rescheduleUser,
} from "../../shared/db/users/user-provisioning.ts";
import { hasErasure } from "../../shared/db/users/erasures.ts";
import type { JobPayload } from "../../shared/queues/index.ts";
import { DONE, type JobResult, type WorkerContext } from "../runtime/context.ts";
import { applyProfile } from "../reconcile/ensure-account.ts";
import { describeRoom } from "../reconcile/configuration/describe-room.ts";
import { wholeAlias } from "../reconcile/configuration/desired-states.ts";
import { ensureRoom } from "../reconcile/ensure-room.ts";
import { finishRoom, finishUser } from "../reconcile/finish-deletions.ts";
import { noticeObserverOut } from "../reconcile/observer/presence.ts";
import { leaveAsMembers } from "../reconcile/observer/replace-matrix-room.ts";
import { unlessForbidden } from "../matrix/http/failure.ts";
import { removeAlias } from "../matrix/rooms/alias.ts";
import { leaveRoom, listJoined, removeMember } from "../matrix/rooms/members.ts";
import type { Homeserver } from "../matrix/homeserver/homeserver.ts";
import { convergeOrReschedule } from "../runtime/reschedule.ts";
import { withRoomLease, type RoomLease } from "../runtime/room-lease.ts";

/** The observer redacts what a deleted person wrote in a deleted room before it leaves. */
const AFTER_ERASURE = {
  ...{ delayMs: 2_000, attempts: 0, failed: false },
  error: "what a deleted person wrote is being removed",
};

/** Creates or updates one account or one room on Matrix as the tenant wants it, or removes a deleted one. */
export function handleProvisioning(
  context: WorkerContext,
  payload: JobPayload<"provisioning">,
): Promise<JobResult> {
  return payload.subject === "user" ? provisionUser(context, payload) : provisionRoom(context, payload);
}

async function provisionUser(
  context: WorkerContext,
  { tenantId, id }: { tenantId: string; id: string },
): Promise<JobResult> {
  await finishUser(context, tenantId, id);
  const due = await findDueAccount(context.db, tenantId, id);
  if (!due) return DONE;
  const account = { id, tenantId, matrixUserId: due.matrix_user_id };
  return convergeOrReschedule(
    context,
    due.attempts,
    async () => {
      const homeserver = await context.homeserver(due.homeserver_id);
      if (due.is_deleted) {
        // Also an account that is not recorded as registered: a worker may have died between registering and recording.
        await homeserver.removeAccount(account.matrixUserId);
        await markAccountRemoved(context.db, tenantId, id);
      } else {
        if (!due.is_registered) await homeserver.ensureAccount(account.matrixUserId);
        await applyProfile(context, homeserver, account, { isNew: !due.is_registered });
      }
      return DONE;
    },
    (failure) => rescheduleUser(context.db, tenantId, id, failure),
  );
}

async function provisionRoom(
  context: WorkerContext,
  { tenantId, id }: { tenantId: string; id: string },
): Promise<JobResult> {
  await finishRoom(context, tenantId, id);
  const result = await withRoomLease(context, { tenantId, roomId: id }, async (lease, room) => {
    if (!room.tenant_is_active) return DONE;
    if (room.is_deleted && (await hasErasure(context.db, id))) {
      await rescheduleRoom(context.db, id, AFTER_ERASURE);
      return { retryInMs: AFTER_ERASURE.delayMs };
    }
    return convergeOrReschedule(
      context,
      room.attempts,
      async () => {
        const homeserver = await context.homeserver(room.homeserver_id);
        if (room.is_deleted) await removeRoom(context, homeserver, room, lease);
        else await updateRoom(context, homeserver, room, lease);
        return DONE;
      },
      (failure) => rescheduleRoom(context.db, id, failure),
    );
  });
  return result ?? DONE;
}

async function updateRoom(
  context: WorkerContext,
  homeserver: Homeserver,
  room: RoomSnapshot,
  lease: RoomLease,
): Promise<void> {
  const matrixRoomId = await ensureRoom(context, homeserver, room, lease);
  // The successor of an upgraded room is due by itself.
  if (room.matrix_room_id !== null && matrixRoomId !== room.matrix_room_id) return;
  const isDescribed = room.matrix_room_id === null || room.applied_version >= room.desired_version;
  const existing = { ...room, matrix_room_id: matrixRoomId, observer_is_out: false };
  if (!isDescribed)
    await noticeObserverOut(context, homeserver, existing, () =>
      describeRoom(context, homeserver, existing, lease),
    );
  else if (room.matrix_room_id !== null) await markRoomUpToDate(context.db, room.id);
}

/** Removes everybody from a deleted room, and its alias. */
async function removeRoom(
  context: WorkerContext,
  homeserver: Homeserver,
  room: RoomSnapshot,
  lease: RoomLease,
): Promise<void> {
  if (room.matrix_room_id !== null) {
    const observer = await homeserver.as(room.observer_matrix_id);
    const matrixRoomId = room.matrix_room_id;
    lease.check();
    await removeAlias(observer, wholeAlias(room, homeserver.serverName));
    const joined = await unlessForbidden(listJoined(observer, matrixRoomId));
    for (const matrixUserId of joined ?? []) {
      lease.check();
      if (matrixUserId !== room.observer_matrix_id)
        await removeMember(observer, { matrixRoomId, matrixUserId });
    }
    // The observer is not in the room and cannot remove anybody: our members leave by themselves.
    if (joined === null)
      await leaveAsMembers(context, homeserver, { id: room.id, matrix_room_id: matrixRoomId }, lease);
    lease.check();
    await leaveRoom(observer, matrixRoomId);
  }
  await markRoomRemoved(context.db, room.id);
}
