import { rowsOf, type Db } from "../../shared/db/connection/open.ts";
import type { WorkerContext } from "../runtime/context.ts";
import type { Homeserver } from "../matrix/homeserver/homeserver.ts";
import { listPresent, removeMember } from "../matrix/rooms/members.ts";
import type { RoomLease } from "../runtime/room-lease.ts";
import type { RoomSnapshot } from "../../shared/db/rooms/work-room.ts";

/** One run puts out so many; the rest follow in later runs, so that messages are not held up. */
const AT_MOST = 20;

/**
 * Whoever is in a room on Matrix, or asked into it, and is not wanted there is put out, where such a one was seen.
 * Answers false when more are left.
 */
export async function removeUnknownUsers(
  context: WorkerContext,
  homeserver: Homeserver,
  room: RoomSnapshot & { matrix_room_id: string },
  lease: RoomLease,
): Promise<boolean> {
  const rows = await rowsOf<{ seen_at: string }>(
    context.db,
    "select strangers_seen_at::text as seen_at from rooms where id = ? and strangers_seen_at is not null",
    [room.id],
  );
  const seenAt = rows[0]?.seen_at;
  if (seenAt === undefined) return true;
  const matrixRoomId = room.matrix_room_id;
  const observer = await homeserver.as(room.observer_matrix_id);
  lease.check();
  const unwanted = await findUnwantedUsers(context.db, room, await listPresent(observer, matrixRoomId));
  for (const matrixUserId of unwanted.slice(0, AT_MOST)) {
    lease.check();
    await removeMember(observer, { matrixRoomId, matrixUserId });
    context.metrics.driftRepaired.inc({ what: "members" });
  }
  if (unwanted.length > 0) {
    const count = Math.min(unwanted.length, AT_MOST);
    context.log.warn({ room: room.id, count }, "people whom the tenant does not want were put out");
  }
  if (unwanted.length > AT_MOST) return false;
  // Who was seen meanwhile is looked for in another run.
  await context.db.raw(
    "update rooms set strangers_seen_at = null where id = ? and strangers_seen_at <= cast(? as timestamptz)",
    [room.id, seenAt],
  );
  return true;
}

/**
 * Those of some people who are not wanted in a room: of the tenant's own, whoever is no member (guests are never on
 * Matrix). People whom the tenant does not know may be in a public room, and in no private one.
 */
export async function findUnwantedUsers(
  db: Db,
  room: RoomSnapshot,
  matrixUserIds: readonly string[],
): Promise<string[]> {
  const rows = await rowsOf<{ matrix_user_id: string }>(
    db,
    `select p.matrix_user_id
       from rooms r cross join unnest(cast(:matrixUserIds as text[])) as p(matrix_user_id)
       left join users u on u.matrix_user_id = p.matrix_user_id and u.tenant_id = r.tenant_id
       left join memberships s on s.room_id = r.id and s.user_id = u.id and s.desired = 'in' and s.role <> 'guest'
      where r.id = :roomId and s.user_id is null and p.matrix_user_id <> :observer
        and (u.id is not null or r.visibility = 'private')`,
    { roomId: room.id, observer: room.observer_matrix_id, matrixUserIds },
  );
  return rows.map(({ matrix_user_id }) => matrix_user_id);
}
