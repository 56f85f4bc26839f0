import { z } from "zod";
import { rowsOf } from "../../shared/db/connection/open.ts";
import type { JobPayload } from "../../shared/queues/index.ts";
import { DONE, type JobResult, type WorkerContext } from "../runtime/context.ts";
import { applyProfile } from "../reconcile/ensure-account.ts";
import { describeRoom, ensureRoom } from "../reconcile/ensure-room.ts";
import type { RoomSnapshot } from "../../shared/db/rooms/work-room.ts";
import { actAs } from "../reconcile/act-as.ts";
import { unlessForbidden } from "../matrix/http/failure.ts";
import { aliasLocalpart, removeAlias } from "../matrix/rooms/ensure-matrix-room.ts";
import { leaveRoom, listJoined, removeMember } from "../matrix/rooms/members.ts";
import type { Homeserver } from "../matrix/homeserver/homeserver.ts";
import { convergeOrReschedule } from "../runtime/reschedule.ts";
import { withRoomLease, type RoomLease } from "../runtime/room-lease.ts";

/** Brings one account, or one room, into being on Matrix as the tenant wants it; or out of being. */
export function handleProvisioning(
  context: WorkerContext,
  payload: JobPayload<"provisioning">,
): Promise<JobResult> {
  return payload.subject === "user" ? provisionUser(context, payload) : provisionRoom(context, payload);
}

const userRow = z.object({
  id: z.string(),
  matrix_user_id: z.string(),
  homeserver_id: z.string(),
  is_registered: z.boolean(),
  is_deleted: z.boolean(),
  attempts: z.number(),
});

async function provisionUser(
  context: WorkerContext,
  { tenantId, id }: { tenantId: string; id: string },
): Promise<JobResult> {
  const rows = await rowsOf(
    context.db,
    `select u.id, u.matrix_user_id, t.homeserver_id, u.applied_version > 0 as is_registered,
            u.deleted_at is not null as is_deleted, u.attempts
       from users u join tenants t on t.id = u.tenant_id
      where u.tenant_id = ? and u.id = ? and u.next_attempt_at <= now() and t.status = 'active'`,
    [tenantId, id],
  );
  if (rows.length === 0) return DONE;
  const user = userRow.parse(rows[0]);
  const account = { id, tenantId, matrixUserId: user.matrix_user_id };
  return convergeOrReschedule(
    context,
    user.attempts,
    async () => {
      const homeserver = await context.homeserver(user.homeserver_id);
      if (user.is_deleted) await removeUser(context, homeserver, account);
      else {
        if (!user.is_registered) await homeserver.ensureAccount(account.matrixUserId);
        await applyProfile(context, homeserver, account);
      }
      return DONE;
    },
    async ({ delayMs, attempts, error, failed }) => {
      await context.db.raw(
        `update users set next_attempt_at = now() + ? * interval '1 millisecond', attempts = ?, error = ?,
                status = case when ? and status = 'pending' then 'failed' else status end
          where tenant_id = ? and id = ?`,
        [delayMs, attempts, error, failed, tenantId, id],
      );
    },
  );
}

/** A person who was deleted: the account ends, and with it whatever could speak for it. */
async function removeUser(
  context: WorkerContext,
  homeserver: Homeserver,
  account: { id: string; tenantId: string; matrixUserId: string },
): Promise<void> {
  // Also of who was never noted as registered: whoever registered them may have died before noting it.
  await homeserver.removeAccount(account.matrixUserId);
  await context.db.raw(
    `with gone as (update memberships set applied = 'out', applied_version = version where user_id = :id and desired = 'out')
     update users set next_attempt_at = null, attempts = 0, error = null where tenant_id = :tenantId and id = :id`,
    { id: account.id, tenantId: account.tenantId },
  );
}

async function provisionRoom(
  context: WorkerContext,
  { tenantId, id }: { tenantId: string; id: string },
): Promise<JobResult> {
  const result = await withRoomLease(context, { tenantId, roomId: id }, async (lease, room) => {
    if (!room.tenant_is_active) return DONE;
    return convergeOrReschedule(
      context,
      room.attempts,
      async () => {
        const homeserver = await context.homeserver(room.homeserver_id);
        if (room.is_deleted) await removeRoom(context, homeserver, room, lease);
        else await bringRoom(context, homeserver, room, lease);
        return DONE;
      },
      async ({ delayMs, attempts, error, failed }) => {
        await context.db.raw(
          `update rooms set next_attempt_at = now() + ? * interval '1 millisecond', attempts = ?, error = ?,
                  status = case when ? and status = 'pending' then 'failed' else status end where id = ?`,
          [delayMs, attempts, error, failed, id],
        );
      },
    );
  });
  return result ?? DONE;
}

async function bringRoom(
  context: WorkerContext,
  homeserver: Homeserver,
  room: RoomSnapshot,
  lease: RoomLease,
): Promise<void> {
  const matrixRoomId = await ensureRoom(context, homeserver, room, lease);
  // Followed to another room: describing it is due by itself, and comes next.
  if (room.matrix_room_id !== null && matrixRoomId !== room.matrix_room_id) return;
  const isDescribed = room.matrix_room_id === null || room.applied_version >= room.desired_version;
  if (!isDescribed) await describeRoom(context, homeserver, { ...room, matrix_room_id: matrixRoomId }, lease);
  else if (room.matrix_room_id !== null) {
    await context.db.raw(
      "update rooms set next_attempt_at = null, status = 'ready' where id = ? and applied_version >= desired_version",
      [room.id],
    );
  }
}

/** A room that was deleted: nobody is left in it, and its alias is free. */
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
    await removeAlias(observer, `#${aliasLocalpart(identityOf(room))}:${homeserver.serverName}`);
    const joined = await unlessForbidden(listJoined(observer, matrixRoomId));
    for (const matrixUserId of joined ?? []) {
      lease.check();
      if (matrixUserId !== room.observer_matrix_id)
        await removeMember(observer, { matrixRoomId, matrixUserId });
    }
    // The observer is out of it, by itself or by others: whoever of ours is still in leaves by themselves.
    if (joined === null) await leaveAsMembers(context, homeserver, room.id, { matrixRoomId, lease });
    lease.check();
    await leaveRoom(observer, matrixRoomId);
  }
  await context.db.raw(
    `with gone as (
       update memberships set applied = 'out', applied_version = version where room_id = :id
     ), timeline as (
       update room_timeline set gap_from = null, gap_to = null, gap_next_attempt_at = null where room_id = :id
     )
     update rooms set next_attempt_at = null, members_next_attempt_at = null, attempts = 0, error = null where id = :id`,
    { id: room.id },
  );
}

async function leaveAsMembers(
  context: WorkerContext,
  homeserver: Homeserver,
  roomId: string,
  { matrixRoomId, lease }: { matrixRoomId: string; lease: RoomLease },
): Promise<void> {
  const members = await rowsOf<{ matrix_user_id: string }>(
    context.db,
    `select u.matrix_user_id from memberships s join users u on u.id = s.user_id
      where s.room_id = ? and s.applied = 'in' and u.deleted_at is null`,
    [roomId],
  );
  for (const member of members) {
    lease.check();
    await actAs(homeserver, member.matrix_user_id, (self) => leaveRoom(self, matrixRoomId));
  }
}

function identityOf(room: RoomSnapshot): {
  tenantId: string;
  kind: string;
  slug: string;
  generation: number;
} {
  return { tenantId: room.tenant_id, kind: room.kind, slug: room.slug, generation: room.generation };
}
